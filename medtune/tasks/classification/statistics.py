"""Statistics of a classifier's predictions, summed per patient so that each patient can get a weight."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from medtune.tasks.classification.ranking import Floats, Ranking, auroc, rank
from medtune.tasks.classification.recalibration import fit_slope, logit

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Ints = npt.NDArray[np.int64]
# Minimum number of patients of a class for the confidence interval of a ratio over its images, such as recall.
MIN_PATIENTS_OF_CLASS = 4


@dataclass(frozen=True)
class ClassificationStats:
    """Statistics of a set of images from which all metrics are computed, summed per patient.

    An image is correct if its prediction equals its label. Counts by class are sparse, because a patient has images of
    few classes and there may be a thousand classes.

    Attributes:
        confusion: (patients, classes * classes) number of images by label, then prediction.
        correct: (patients, classes) number of correct images by label.
        actual: (patients, classes) number of images by label.
        predicted: (patients, classes) number of images by prediction.
        brier: (patients,) half the squared distance of the probabilities from the label, summed over images.
        confidence_gap: (patients,) confidence minus correctness (0 or 1) of the most probable class, summed over
            images.
        argmax_correct: (patients,) number of images whose most probable class is correct.
        recognized: (patients,) fraction of each patient's images that are correct.
        patient_index: (images,) index of each image's patient.
        present: (classes,) True if the labels contain the class.
        rankings: one ranking per class that has positives and negatives; with two classes, only that of class 1.
        logits: (images,) logit of the predicted probability of the outcome. With two classes, the outcome is the
            positive class. With more classes, the outcome is that the most probable class is correct.
        outcomes: (images,) 1 if the outcome occurred, otherwise 0.
        ordinal: True if the classes are ordered, as grades are.
    """

    confusion: "csr_array"
    correct: "csr_array"
    actual: "csr_array"
    predicted: "csr_array"
    brier: Floats
    confidence_gap: Floats
    argmax_correct: Floats
    recognized: Floats
    patient_index: Ints
    present: npt.NDArray[np.bool_]
    rankings: tuple[Ranking, ...]
    logits: Floats
    outcomes: Floats
    ordinal: bool = False

    @property
    def n_classes(self) -> int:
        """Number of classes, including absent classes."""
        return len(self.present)

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return len(self.recognized)

    @property
    def width(self) -> int:
        """Number of images, each of which has a weight in a ranking."""
        return len(self.patient_index)

    @cached_property
    def recalibrated(self) -> Floats:
        """(2,) calibration intercept and slope of all images, the starting point of re-weighted fits."""
        return np.asarray(fit_slope(self.logits, self.outcomes, np.ones((1, self.width)))[0])

    @property
    def sizes(self) -> Floats:
        """(patients,) number of images per patient."""
        return np.bincount(self.patient_index, minlength=self.n_patients).astype(np.float64)

    @property
    def strata(self) -> Ints:
        """(patients,) class of each patient, or the number of classes for patients with several classes."""
        classes = np.diff(self.actual.indptr)
        first = self.actual.indices[self.actual.indptr[:-1]].astype(np.int64)
        return np.where(classes == 1, first, self.n_classes)

    def weighted(self, weights: Floats) -> "WeightedStats":
        """Return the statistics with each patient counted `weights` (R, patients) times."""
        return WeightedStats(self, weights)

    def patients_per_class(self) -> Ints:
        """Return the number of patients (classes,) with at least one image of each class."""
        return np.bincount(self.actual.indices, minlength=self.n_classes)


@dataclass(frozen=True)
class WeightedStats:
    """Statistics under R weightings of the patients. A weighting assigns a weight to each patient.

    Averages over classes include the classes that the labels contain. If a weighting removes all images of such a
    class, the average is undefined. Averages over different classes cannot be compared.

    Attributes:
        stats: statistics of the set of images.
        weights: (R, patients) weight of each patient.
    """

    stats: ClassificationStats
    weights: Floats

    @cached_property
    def confusion(self) -> Floats:
        """(R, classes, classes) number of images by label, then prediction. Large for many classes."""
        classes = self.stats.n_classes
        return self._weigh(self.stats.confusion).reshape(-1, classes, classes)

    @cached_property
    def correct(self) -> Floats:
        """(R, classes) number of correct images by label."""
        return self._weigh(self.stats.correct)

    @cached_property
    def actual(self) -> Floats:
        """(R, classes) number of images by label."""
        return self._weigh(self.stats.actual)

    @cached_property
    def predicted(self) -> Floats:
        """(R, classes) number of images by prediction."""
        return self._weigh(self.stats.predicted)

    @cached_property
    def recall(self) -> Floats:
        """(R, classes) recall, NaN for absent classes."""
        return self.correct / self.actual

    @cached_property
    def precision(self) -> Floats:
        """(R, classes) precision, 0 without predictions of the class and NaN for absent classes."""
        predicted = np.maximum(self.predicted, self.correct + (self.predicted == 0))
        return np.where(self.actual > 0, self.correct / predicted, np.nan)

    @cached_property
    def macro_recall(self) -> Floats:
        """(R,) mean recall over the classes in the labels."""
        return self.macro(self.recall)

    @cached_property
    def macro_precision(self) -> Floats:
        """(R,) mean precision over the classes in the labels."""
        return self.macro(self.precision)

    @cached_property
    def image_weights(self) -> Floats:
        """(R, images) weight of each image, which is the weight of its patient."""
        return self.weights[:, self.stats.patient_index]

    @cached_property
    def recalibrated(self) -> Floats:
        """(R, 2) intercept and slope of the logistic recalibration, NaN without a finite optimum."""
        return fit_slope(self.stats.logits, self.stats.outcomes, self.image_weights, self.stats.recalibrated)

    @cached_property
    def undefined(self) -> Floats:
        """(R,) NaN values."""
        return np.full(len(self.weights), np.nan)

    @cached_property
    def auroc(self) -> Floats:
        """(R,) mean area under the ROC curve over the ranked classes, NaN without ranked classes."""
        areas = [auroc(ranking, self.image_weights) for ranking in self.stats.rankings]
        return np.mean(areas, axis=0) if areas else self.undefined

    def macro(self, by_class: Floats) -> Floats:
        """Average values (R, classes) over the classes in the labels."""
        return np.asarray(by_class[:, self.stats.present].mean(axis=1))

    def _weigh(self, counts: "csr_array") -> Floats:
        return np.ascontiguousarray(self.weights @ counts)


def accumulate(
    labels: Ints,
    probabilities: Floats,
    predictions: Ints,
    patients: npt.NDArray[Any],
    ordinal: bool = False,
) -> ClassificationStats:
    """Sum the statistics of images per patient.

    Args:
        labels: (n,) class indices.
        probabilities: (n, classes) probabilities. Each row sums to 1.
        predictions: (n,) class indices.
        patients: (n,) patient ids.
        ordinal: True if the classes are ordered, as grades are.

    Returns:
        The statistics.

    Raises:
        ValueError: no images, a probability that is not finite, or a label or prediction that is not a class index.
    """
    from scipy.sparse import csr_array

    labels, predictions = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    probabilities = np.asarray(probabilities, np.float64)
    n, classes = probabilities.shape
    if not n:
        raise ValueError("no images to score")
    if not np.isfinite(probabilities).all():
        raise ValueError(f"{(~np.isfinite(probabilities)).any(axis=1).sum()} of {n} images have a probability of NaN")
    if min(labels.min(), predictions.min()) < 0 or max(labels.max(), predictions.max()) >= classes:
        raise ValueError(f"a label or prediction is outside 0 to {classes - 1}")
    names, member = np.unique(patients, return_inverse=True)

    def count(columns: Ints, width: int, weights: Floats) -> csr_array:
        counts = csr_array((weights, (member, columns)), shape=(len(names), width))
        counts.eliminate_zeros()
        return counts

    ones = np.ones(n)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    # Half the squared distance from the one-hot label, without a matrix of one-hot labels.
    squares = (np.einsum("nk,nk->n", probabilities, probabilities) + 1) / 2 - probabilities[np.arange(n), labels]
    probability, outcome = (probabilities[:, 1], labels == 1) if classes == 2 else (confidence, correct)
    present = np.bincount(labels, minlength=classes) > 0
    # With two classes only the positive class, index 1, is ranked. A single class has no negatives.
    ranked = [k for k in ([1] if classes == 2 else range(classes)) if present[k] and present.sum() > 1]
    return ClassificationStats(
        count(labels * classes + predictions, classes**2, ones),
        count(labels, classes, (labels == predictions).astype(np.float64)),
        count(labels, classes, ones),
        count(predictions, classes, ones),
        np.bincount(member, weights=squares).astype(np.float64),
        np.bincount(member, weights=confidence - correct).astype(np.float64),
        np.bincount(member, weights=correct).astype(np.float64),
        np.bincount(member, weights=labels == predictions) / np.bincount(member),
        member,
        present,
        tuple(rank(labels == k, probabilities[:, k]) for k in ranked),
        logit(probability),
        outcome.astype(np.float64),
        ordinal,
    )


def patients_of(label: int) -> Callable[[ClassificationStats], int]:
    """Return a function that counts the patients with images of class `label`."""
    return lambda stats: int(stats.patients_per_class()[label])


def patients_of_all(stats: ClassificationStats) -> int:
    """Return the effective number of patients of an average over classes.

    Args:
        stats: statistics of the images.

    Returns:
        Number of classes times the number of patients of the rarest class, at most the number of all patients.
    """
    counts = stats.patients_per_class()[stats.present]
    return min(stats.n_patients, len(counts) * int(counts.min()))


def binary(stats: ClassificationStats) -> bool:
    """Return True for two classes."""
    return stats.n_classes == 2


def confusion_matrix(labels: Ints, predictions: Ints, n_classes: int) -> Ints:
    """Count images (classes, classes) by label (rows) and prediction (columns)."""
    flat = np.bincount(np.asarray(labels) * n_classes + np.asarray(predictions), minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)

"""Additive statistics of a classifier's predictions per patient, and their re-weighting."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medtune.tasks.classification.ranking import Floats, Ranking, auroc, rank
from medtune.tasks.classification.recalibration import fit_slope, logit

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Ints = npt.NDArray[np.int64]
# Fewer patients of a class give no interval of a ratio of its images.
MIN_PATIENTS_OF_CLASS = 4


@dataclass(frozen=True)
class ClassificationStats:
    """Everything that the metrics need of a set of images, summed once per patient.

    Counts by class are sparse: a patient has images of few classes, and there may be a thousand.

    Attributes:
        confusion: (patients, classes * classes), images of each patient by label, then prediction.
        correct: (patients, classes), correct images of each patient by label.
        actual: (patients, classes), images of each patient by label.
        predicted: (patients, classes), images of each patient by prediction.
        brier: (patients,) half the squared distance of the probabilities from the label, summed over images.
        confidence_gap: (patients,) probability of the most probable class less whether it is right, summed over images.
        right: (patients,) images whose most probable class is right.
        recognized: (patients,) share of each patient's images that are correct.
        patient_index: (images,) each image's patient.
        present: (classes,) the labels contain this class.
        rankings: one per class whose AUROC is averaged.
        logits: (images,) logit of the probability of the outcome.
        outcomes: (images,) 1 where the outcome happened: the positive class where there are two classes, else that the
            most probable class is right.
        ordinal: the classes are ordered, as grades are.
    """

    confusion: "csr_array"
    correct: "csr_array"
    actual: "csr_array"
    predicted: "csr_array"
    brier: Floats
    confidence_gap: Floats
    right: Floats
    recognized: Floats
    patient_index: Ints
    present: npt.NDArray[np.bool_]
    rankings: tuple[Ranking, ...]
    logits: Floats
    outcomes: Floats
    ordinal: bool = False

    @property
    def n_classes(self) -> int:
        """Number of classes, present or not."""
        return len(self.present)

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return len(self.recognized)

    @property
    def width(self) -> int:
        """Number of images: a ranking weighs each of them."""
        return len(self.patient_index)

    @cached_property
    def recalibrated(self) -> Floats:
        """(2,) calibration intercept and slope of all images: where the fits of re-weighted images start."""
        return fit_slope(self.logits, self.outcomes, np.ones((1, self.width)))[0]

    @property
    def sizes(self) -> Floats:
        """(patients,) images of each patient."""
        return np.bincount(self.patient_index, minlength=self.n_patients).astype(np.float64)

    @property
    def strata(self) -> Ints:
        """(patients,) class of each patient that has images of one class, the number of classes for the others."""
        classes = np.diff(self.actual.indptr)
        first = self.actual.indices[self.actual.indptr[:-1]].astype(np.int64)
        return np.where(classes == 1, first, self.n_classes)

    def weighted(self, weights: Floats) -> "WeightedStats":
        """Statistics with each patient counted `weights` (R, patients) times."""
        return WeightedStats(self, weights)

    def patients_per_class(self) -> Ints:
        """(classes,) patients with at least one image of each class."""
        return np.bincount(self.actual.indices, minlength=self.n_classes)


@dataclass(frozen=True)
class WeightedStats:
    """Statistics under R weightings of the patients; what several metrics need is computed once.

    Averages over classes run over the classes that the labels contain. They are undefined for a row of weights that
    loses one of them: its mean would be over other classes than the whole set's.

    Attributes:
        stats: of the set of images.
        weights: (R, patients).
    """

    stats: ClassificationStats
    weights: Floats

    @cached_property
    def confusion(self) -> Floats:
        """(R, classes, classes) images by label, then prediction. Large if there are many classes."""
        classes = self.stats.n_classes
        return self._weigh(self.stats.confusion).reshape(-1, classes, classes)

    @cached_property
    def correct(self) -> Floats:
        """(R, classes) correct images by label."""
        return self._weigh(self.stats.correct)

    @cached_property
    def actual(self) -> Floats:
        """(R, classes) images by label."""
        return self._weigh(self.stats.actual)

    @cached_property
    def predicted(self) -> Floats:
        """(R, classes) images by prediction."""
        return self._weigh(self.stats.predicted)

    @cached_property
    def recall(self) -> Floats:
        """(R, classes), NaN where the labels lack the class."""
        return self.correct / self.actual

    @cached_property
    def precision(self) -> Floats:
        """(R, classes), 0 where nothing was predicted, NaN where the labels lack the class."""
        predicted = np.maximum(self.predicted, self.correct + (self.predicted == 0))
        return np.where(self.actual > 0, self.correct / predicted, np.nan)

    @cached_property
    def macro_recall(self) -> Floats:
        """(R,) mean recall over the classes that the labels contain."""
        return self.macro(self.recall)

    @cached_property
    def macro_precision(self) -> Floats:
        """(R,) mean precision over the classes that the labels contain."""
        return self.macro(self.precision)

    @cached_property
    def image_weights(self) -> Floats:
        """(R, images) weight of each image: its patient's."""
        return self.weights[:, self.stats.patient_index]

    @cached_property
    def recalibrated(self) -> Floats:
        """(R, 2) intercept and slope of the logistic recalibration; NaN where it has no finite optimum."""
        return fit_slope(self.stats.logits, self.stats.outcomes, self.image_weights, self.stats.recalibrated)

    @cached_property
    def undefined(self) -> Floats:
        """(R,) NaN."""
        return np.full(len(self.weights), np.nan)

    @cached_property
    def auroc(self) -> Floats:
        """(R,) mean area under the ROC curve over the ranked classes, NaN where there are none."""
        areas = [auroc(ranking, self.image_weights) for ranking in self.stats.rankings]
        return np.mean(areas, axis=0) if areas else self.undefined

    def macro(self, by_class: Floats) -> Floats:
        """Average (R, classes) over the classes that the labels contain."""
        return by_class[:, self.stats.present].mean(axis=1)

    def _weigh(self, counts: "csr_array") -> Floats:
        return np.ascontiguousarray(self.weights @ counts)


def accumulate(
    labels: Ints,
    probabilities: Floats,
    predictions: Ints,
    patients: npt.NDArray,
    ordinal: bool = False,
) -> ClassificationStats:
    """Sum up per patient what the metrics need.

    Args:
        labels: (n,) class indices.
        probabilities: (n, classes), rows sum to 1.
        predictions: (n,) class indices.
        patients: (n,) patient ids.
        ordinal: the classes are ordered, as grades are.

    Raises:
        ValueError: no images, a probability that is not finite, or a label that is not a class.
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
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    # Half of the sum over classes of (probability - 1 of the label) squared, without a matrix of labels.
    squares = (np.einsum("nk,nk->n", probabilities, probabilities) + 1) / 2 - probabilities[np.arange(n), labels]
    stated, happened = (probabilities[:, 1], labels == 1) if classes == 2 else (confidence, right)
    present = np.bincount(labels, minlength=classes) > 0
    # Of two classes index 1 is the positive one. One class alone has no negatives to be ranked against.
    ranked = [k for k in ([1] if classes == 2 else range(classes)) if present[k] and present.sum() > 1]
    return ClassificationStats(
        count(labels * classes + predictions, classes**2, ones),
        count(labels, classes, (labels == predictions).astype(np.float64)),
        count(labels, classes, ones),
        count(predictions, classes, ones),
        np.bincount(member, weights=squares).astype(np.float64),
        np.bincount(member, weights=confidence - right).astype(np.float64),
        np.bincount(member, weights=right).astype(np.float64),
        np.bincount(member, weights=labels == predictions) / np.bincount(member),
        member,
        present,
        tuple(rank(labels == k, probabilities[:, k]) for k in ranked),
        logit(stated),
        happened.astype(np.float64),
        ordinal,
    )


def patients_of(label: int) -> Callable[[ClassificationStats], int]:
    """Return the function that counts the patients with images of a class."""
    return lambda stats: int(stats.patients_per_class()[label])


def patients_of_all(stats: ClassificationStats) -> int:
    """Return the patients that an average over classes rests on: those of the rarest class, times the classes."""
    counts = stats.patients_per_class()[stats.present]
    return min(stats.n_patients, len(counts) * int(counts.min()))


def binary(stats: ClassificationStats) -> bool:
    """True where there are two classes."""
    return stats.n_classes == 2


def confusion_matrix(labels: Ints, predictions: Ints, n_classes: int) -> Ints:
    """Counts (classes, classes), rows the labels, columns the predictions."""
    flat = np.bincount(np.asarray(labels) * n_classes + np.asarray(predictions), minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)

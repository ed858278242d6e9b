"""Statistics of multilabel predictions, summed per patient so that each patient can get a weight."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.tasks.classification import ranking
from medtune.tasks.classification.ranking import Floats, Ranking
from medtune.tasks.classification.recalibration import fit_intercept, fit_slope, logit

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FindingStats:
    """Statistics of a set of images from which all metrics are computed, summed per patient.

    Attributes:
        images: (patients,) number of images.
        actual: (patients, findings) number of images that show the finding.
        predicted: (patients, findings) number of images with a positive decision.
        true_positives: (patients, findings) number of images that show the finding and have a positive decision.
        squares: (patients, findings) squared distance of the probability from the label, summed over images.
        confidence_gap: (patients, findings) confidence of the more probable outcome minus its correctness (0 or 1),
            summed over images.
        correct: (patients, findings) number of images whose more probable outcome is correct.
        logits: (images, findings) logits of the probabilities.
        labels: (images, findings) 1 if the image shows the finding.
        patient_index: (images,) index of each image's patient.
        rankings: one ranking per finding; None if all images or no images show the finding.
    """

    images: Floats
    actual: Floats
    predicted: Floats
    true_positives: Floats
    squares: Floats
    confidence_gap: Floats
    correct: Floats
    logits: Floats
    labels: Floats
    patient_index: npt.NDArray[np.int64]
    rankings: tuple[Ranking | None, ...]

    @property
    def n_patients(self) -> int:
        """Number of patients."""
        return len(self.images)

    @property
    def width(self) -> int:
        """Number of pairs of an image and a finding, each of which has a weight in the calibration."""
        return self.labels.size

    @property
    def sizes(self) -> Floats:
        """(patients,) number of images per patient."""
        return self.images

    @cached_property
    def outcomes(self) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
        """Logits, labels and patient indices (pairs,) of all pairs of an image and a scored finding."""
        scored = self.scored
        return (
            self.logits[:, scored].ravel(),
            self.labels[:, scored].ravel(),
            np.repeat(self.patient_index, int(scored.sum())),
        )

    @cached_property
    def recalibrated(self) -> Floats:
        """(2,) calibration intercept and slope of all pairs, the starting point of re-weighted fits."""
        logits, labels, _ = self.outcomes
        return np.asarray(fit_slope(logits, labels, np.ones((1, len(labels))))[0])

    @property
    def scored(self) -> Bools:
        """(findings,) True if some images show the finding and others do not."""
        return np.array([ranked is not None for ranked in self.rankings])

    def weighted(self, weights: Floats) -> "WeightedFindings":
        """Return the statistics with each patient counted `weights` (R, patients) times."""
        return WeightedFindings(self, weights)

    def patients_per_class(self) -> npt.NDArray[np.int64]:
        """Return the number of patients (findings,) who show each finding; 0 for findings that are not scored."""
        return np.where(self.scored, (self.actual > 0).sum(0), 0)


@dataclass(frozen=True)
class WeightedFindings:
    """Statistics under R weightings of the patients. A weighting assigns a weight to each patient.

    Properties have the shape (R, findings) unless stated otherwise. Undefined values are NaN.

    Attributes:
        stats: statistics of the set of images.
        weights: (R, patients) weight of each patient.
    """

    stats: FindingStats
    weights: Floats

    @cached_property
    def actual(self) -> Floats:
        """Number of images that show the finding."""
        return self.weights @ self.stats.actual

    @cached_property
    def negatives(self) -> Floats:
        """Number of images that do not show the finding."""
        return (self.weights @ self.stats.images)[:, None] - self.actual

    @cached_property
    def predicted(self) -> Floats:
        """Number of images with a positive decision."""
        return self.weights @ self.stats.predicted

    @cached_property
    def true_positives(self) -> Floats:
        """Number of images that show the finding and have a positive decision."""
        return self.weights @ self.stats.true_positives

    @cached_property
    def sensitivity(self) -> Floats:
        """TP / (TP + FN)."""
        return _divide(self.true_positives, self.actual)

    @cached_property
    def specificity(self) -> Floats:
        """TN / (TN + FP)."""
        return _divide(self.negatives - (self.predicted - self.true_positives), self.negatives)

    @cached_property
    def balanced_accuracy(self) -> Floats:
        """Mean of sensitivity and specificity."""
        return (self.sensitivity + self.specificity) / 2

    @cached_property
    def f1(self) -> Floats:
        """2 TP / (2 TP + FP + FN), undefined if no image shows the finding."""
        return np.where(self.actual > 0, _divide(2 * self.true_positives, self.actual + self.predicted), np.nan)

    @cached_property
    def auroc(self) -> Floats:
        """Area under the ROC curve."""
        return self._ranked(ranking.auroc)

    @cached_property
    def average_precision(self) -> Floats:
        """Average precision as scikit-learn's step-wise sum, undefined if all images or no images show the finding."""
        return np.where(self.negatives > 0, self._ranked(ranking.average_precision), np.nan)

    @cached_property
    def brier(self) -> Floats:
        """Mean squared distance of the probability from the label."""
        return np.divide(self.weights @ self.stats.squares, (self.weights @ self.stats.images)[:, None])

    @cached_property
    def confidence_gap(self) -> Floats:
        """Mean confidence of the more probable outcome minus the fraction of images where this outcome is correct."""
        return np.divide(self.weights @ self.stats.confidence_gap, (self.weights @ self.stats.images)[:, None])

    @cached_property
    def calibration_slope(self) -> Floats:
        """(R,) calibration slope of all pairs of an image and a scored finding."""
        logits, labels, member = self.stats.outcomes
        return fit_slope(logits, labels, self.weights[:, member], self.stats.recalibrated)[:, 1]

    @cached_property
    def calibration_intercept(self) -> Floats:
        """(R,) calibration intercept of all pairs of an image and a scored finding."""
        logits, labels, member = self.stats.outcomes
        return fit_intercept(logits, labels, self.weights[:, member])

    def macro(self, by_finding: Floats) -> Floats:
        """Average values over the scored findings.

        Args:
            by_finding: (R, findings) values.

        Returns:
            (R,) averages. If a scored finding is undefined under a weighting, the average is NaN. Averages over
            different findings cannot be compared.
        """
        scored = self.stats.scored
        return by_finding[:, scored].mean(axis=1) if scored.any() else np.full(len(self.weights), np.nan)

    @cached_property
    def _image_weights(self) -> Floats:
        return self.weights[:, self.stats.patient_index]

    def _ranked(self, area: Callable[[Ranking, Floats], Floats]) -> Floats:
        undefined = np.full(len(self.weights), np.nan)
        areas = [undefined if ranked is None else area(ranked, self._image_weights) for ranked in self.stats.rankings]
        return np.stack(areas, axis=1)


def accumulate(
    labels: npt.NDArray[Any], probabilities: npt.NDArray[Any], decided: npt.NDArray[Any], patients: npt.NDArray[Any]
) -> FindingStats:
    """Sum the statistics of images per patient.

    Args:
        labels: (n, findings) 1 or True if the image shows the finding.
        probabilities: (n, findings) probabilities.
        decided: (n, findings) 1 or True if the decision is positive.
        patients: (n,) patient ids.

    Returns:
        The statistics.

    Raises:
        ValueError: no images, or a probability that is not finite.
    """
    labels, decided = np.asarray(labels, bool), np.asarray(decided, bool)
    probabilities = np.asarray(probabilities, np.float64)
    n, findings = probabilities.shape
    if not n:
        raise ValueError("no images to score")
    if not np.isfinite(probabilities).all():
        raise ValueError(f"{(~np.isfinite(probabilities)).any(axis=1).sum()} of {n} images have a probability of NaN")
    names, member = np.unique(patients, return_inverse=True)

    def total(values: npt.NDArray[Any]) -> Floats:
        columns = [np.bincount(member, weights=column, minlength=len(names)) for column in values.T]
        return np.stack(columns, axis=1)

    correct = (probabilities >= 0.5) == labels
    both = np.array([labels[:, k].any() and not labels[:, k].all() for k in range(findings)])
    return FindingStats(
        np.bincount(member).astype(np.float64),
        total(labels),
        total(decided),
        total(labels & decided),
        total((probabilities - labels) ** 2),
        total(np.maximum(probabilities, 1 - probabilities) - correct),
        total(correct),
        logit(probabilities),
        labels.astype(np.float64),
        member,
        tuple(ranking.rank(labels[:, k], probabilities[:, k]) if both[k] else None for k in range(findings)),
    )


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def patients_with(finding: int) -> Callable[[FindingStats], int]:
    """Return a function for the smaller of two counts: patients with images of a finding, and with other images."""
    return lambda stats: int(min((stats.actual[:, finding] > 0).sum(), (stats.actual[:, finding] < stats.images).sum()))


def effective_patients(finding: int) -> Callable[[FindingStats], float]:
    """Return a function that computes the effective number of patients of a finding (Kish 1965).

    Args:
        finding: index of the finding.

    Returns:
        Function from statistics to the smaller of two effective numbers: patients of images with the finding, and
        patients of images without the finding.
    """

    def effective(images: Floats) -> float:
        return float(images.sum() ** 2 / max((images**2).sum(), 1.0))

    def effective_minimum(stats: FindingStats) -> float:
        positives = stats.actual[:, finding]
        return min(effective(positives), effective(stats.images - positives))

    return effective_minimum


def patients_of_all(stats: FindingStats) -> int:
    """Return the effective number of patients of a mean over findings.

    Args:
        stats: statistics of the images.

    Returns:
        Number of pairs of a patient and a scored finding that the patient shows, at most the number of patients.
    """
    pairs = (stats.actual[:, stats.scored] > 0).sum()
    return int(min(stats.n_patients, max(pairs, 1)))

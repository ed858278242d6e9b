"""Additive statistics of findings per patient, and their re-weighting."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from medtune.tasks.classification import ranking
from medtune.tasks.classification.ranking import Floats, Ranking
from medtune.tasks.classification.recalibration import fit_intercept, fit_slope, logit

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FindingStats:
    """Everything that the metrics need of a set of images, summed once per patient.

    Attributes:
        images: (patients,) images of each patient.
        actual: (patients, findings) images that show the finding.
        predicted: (patients, findings) images said to show it.
        hits: (patients, findings) images that show it and are said to.
        squares: (patients, findings) squared distance of the probability from the label, summed over images.
        confidence_gap: (patients, findings) probability of the likelier answer less whether it is right, summed over
            images.
        right: (patients, findings) images whose likelier answer is right.
        logits: (images, findings) of the probabilities.
        labels: (images, findings) 1 where the image shows the finding.
        patient_index: (images,) each image's patient.
        rankings: one per finding; None where all images show it or none does.
    """

    images: Floats
    actual: Floats
    predicted: Floats
    hits: Floats
    squares: Floats
    confidence_gap: Floats
    right: Floats
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
        """Number of pairs of an image and a finding: calibration weighs each of them."""
        return self.labels.size

    @property
    def sizes(self) -> Floats:
        """(patients,) images of each patient."""
        return self.images

    @cached_property
    def outcomes(self) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
        """Logits, labels and patient of every pair of an image and a scored finding."""
        scored = self.scored
        return (
            self.logits[:, scored].ravel(),
            self.labels[:, scored].ravel(),
            np.repeat(self.patient_index, int(scored.sum())),
        )

    @cached_property
    def recalibrated(self) -> Floats:
        """(2,) calibration intercept and slope of all pairs: where the fits of re-weighted pairs start."""
        logits, labels, _ = self.outcomes
        return fit_slope(logits, labels, np.ones((1, len(labels))))[0]

    @property
    def scored(self) -> Bools:
        """(findings,) the finding has images that show it and images that do not."""
        return np.array([each is not None for each in self.rankings])

    def weighted(self, weights: Floats) -> "WeightedFindings":
        """Statistics with each patient counted `weights` (R, patients) times."""
        return WeightedFindings(self, weights)

    def patients_per_class(self) -> npt.NDArray[np.int64]:
        """(findings,) patients with at least one image that shows it; 0 where averages leave the finding out."""
        return np.where(self.scored, (self.actual > 0).sum(0), 0)


@dataclass(frozen=True)
class WeightedFindings:
    """Statistics under R weightings of the patients; a property is (R, findings) if not stated, NaN where undefined.

    Attributes:
        stats: of the set of images.
        weights: (R, patients).
    """

    stats: FindingStats
    weights: Floats

    @cached_property
    def actual(self) -> Floats:
        """Images that show the finding."""
        return self.weights @ self.stats.actual

    @cached_property
    def others(self) -> Floats:
        """Images that do not show it."""
        return (self.weights @ self.stats.images)[:, None] - self.actual

    @cached_property
    def predicted(self) -> Floats:
        """Images said to show it."""
        return self.weights @ self.stats.predicted

    @cached_property
    def hits(self) -> Floats:
        """Images that show it and are said to."""
        return self.weights @ self.stats.hits

    @cached_property
    def sensitivity(self) -> Floats:
        """Share of the images that show the finding that are said to."""
        return _divide(self.hits, self.actual)

    @cached_property
    def specificity(self) -> Floats:
        """Share of the images that do not show it that are not said to."""
        return _divide(self.others - (self.predicted - self.hits), self.others)

    @cached_property
    def balanced_accuracy(self) -> Floats:
        """Mean of sensitivity and specificity."""
        return (self.sensitivity + self.specificity) / 2

    @cached_property
    def f1(self) -> Floats:
        """2 TP / (2 TP + FP + FN); undefined where no image shows the finding."""
        return np.where(self.actual > 0, _divide(2 * self.hits, self.actual + self.predicted), np.nan)

    @cached_property
    def auroc(self) -> Floats:
        """Area under the ROC curve."""
        return self._ranked(ranking.auroc)

    @cached_property
    def average_precision(self) -> Floats:
        """scikit-learn's step-wise sum; undefined where all images show the finding or none does."""
        return np.where(self.others > 0, self._ranked(ranking.average_precision), np.nan)

    @cached_property
    def brier(self) -> Floats:
        """Mean squared distance of the probability from the label."""
        return (self.weights @ self.stats.squares) / (self.weights @ self.stats.images)[:, None]

    @cached_property
    def confidence_gap(self) -> Floats:
        """Mean probability of the likelier answer less the share of images where it is right."""
        return (self.weights @ self.stats.confidence_gap) / (self.weights @ self.stats.images)[:, None]

    @cached_property
    def calibration_slope(self) -> Floats:
        """(R,) of all pairs of an image and a scored finding."""
        logits, labels, member = self.stats.outcomes
        return fit_slope(logits, labels, self.weights[:, member], self.stats.recalibrated)[:, 1]

    @cached_property
    def calibration_intercept(self) -> Floats:
        """(R,) of all pairs of an image and a scored finding."""
        logits, labels, member = self.stats.outcomes
        return fit_intercept(logits, labels, self.weights[:, member])

    def macro(self, by_finding: Floats) -> Floats:
        """Average (R, findings) over the findings that are scored; NaN where a weighting loses one of them.

        A mean over the others would be of other findings than the whole set's.
        """
        scored = self.stats.scored
        return by_finding[:, scored].mean(axis=1) if scored.any() else np.full(len(self.weights), np.nan)

    @cached_property
    def _image_weights(self) -> Floats:
        return self.weights[:, self.stats.patient_index]

    def _ranked(self, area: Callable[[Ranking, Floats], Floats]) -> Floats:
        undefined = np.full(len(self.weights), np.nan)
        areas = [undefined if each is None else area(each, self._image_weights) for each in self.stats.rankings]
        return np.stack(areas, axis=1)


def accumulate(
    labels: npt.NDArray, probabilities: npt.NDArray, decided: npt.NDArray, patients: npt.NDArray
) -> FindingStats:
    """Sum up per patient what the metrics need.

    Args:
        labels: (n, findings), 1 or true where the image shows the finding.
        probabilities: (n, findings).
        decided: (n, findings), 1 or true where it is said to.
        patients: (n,) patient ids.

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

    def total(values: npt.NDArray) -> Floats:
        columns = [np.bincount(member, weights=column, minlength=len(names)) for column in values.T]
        return np.stack(columns, axis=1)

    right = (probabilities >= 0.5) == labels
    both = np.array([labels[:, k].any() and not labels[:, k].all() for k in range(findings)])
    return FindingStats(
        np.bincount(member).astype(np.float64),
        total(labels),
        total(decided),
        total(labels & decided),
        total((probabilities - labels) ** 2),
        total(np.maximum(probabilities, 1 - probabilities) - right),
        total(right),
        logit(probabilities),
        labels.astype(np.float64),
        member,
        tuple(ranking.rank(labels[:, k], probabilities[:, k]) if both[k] else None for k in range(findings)),
    )


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def patients_with(finding: int) -> Callable[[FindingStats], int]:
    """Return the function that counts the patients that show a finding, or those that lack it if they are fewer."""
    return lambda stats: int(min((stats.actual[:, finding] > 0).sum(), (stats.actual[:, finding] < stats.images).sum()))


def effective_patients(finding: int) -> Callable[[FindingStats], float]:
    """Return the function that counts how many patients with equal numbers of images a finding rests on (Kish 1965).

    The images that show the finding, or those that lack it if their number is lower.
    """

    def effective(images: Floats) -> float:
        return float(images.sum() ** 2 / max((images**2).sum(), 1.0))

    def rests_on(stats: FindingStats) -> float:
        shown = stats.actual[:, finding]
        return min(effective(shown), effective(stats.images - shown))

    return rests_on


def patients_of_all(stats: FindingStats) -> int:
    """Return the patients that an average over findings rests on: those with a scored finding, of all findings."""
    shown = (stats.actual[:, stats.scored] > 0).sum()
    return int(min(stats.n_patients, max(shown, 1)))

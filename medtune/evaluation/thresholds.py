"""Decision threshold of a probability, selected on pooled validation predictions.

A threshold that is fitted to few patients is unstable. The threshold is therefore 0.5 unless a tuned threshold is
significantly better on patients that were not used for tuning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
DEFAULT = 0.5
# With fewer patients of either class, no tuned threshold is compared with 0.5.
MIN_PATIENTS = 10
# A tuned threshold is the center of all thresholds whose balanced accuracy is this close to the best.
TOLERANCE = 0.03
N_FOLDS = 10
CONFIDENCE = 0.95


@dataclass(frozen=True)
class ThresholdChoice:
    """Selected threshold.

    Attributes:
        threshold: smallest probability that counts as positive.
        why: explanation of the selection, one sentence without a full stop.
        images: number of validation images on which the threshold was selected.
        patients: number of validation patients with negative and with positive images.
        failed: True if validation has a single class, or too few patients for a requested sensitivity or specificity.
    """

    threshold: float
    why: str
    images: int
    patients: tuple[int, int]
    failed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Convert to the fields of bundle.json and metrics.json, without the threshold."""
        return {
            "chosen_on": "validation",
            "why": self.why,
            "images": self.images,
            "patients": dict(zip(("negative", "positive"), self.patients, strict=True)),
            **({"reason": self.why} if self.failed else {}),
        }


def choose_threshold(
    probabilities: npt.NDArray[Any],
    positive: npt.NDArray[Any],
    patient_ids: npt.NDArray[Any],
    criterion: str | Mapping[str, float],
) -> ThresholdChoice:
    """Select the threshold of one probability.

    Args:
        probabilities: (n,) calibrated probabilities of the positive class or finding, 0..1.
        positive: (n,) True if the image is positive.
        patient_ids: (n,) patient of each image.
        criterion: `argmax` always gives 0.5. `balanced_accuracy` gives 0.5, or a threshold that is better with a
            confidence of 95 %. `{"specificity": s}` and `{"sensitivity": s}` give a threshold that reaches s on these
            images. If several thresholds reach s, the one with the best value of the other metric is selected.

    Returns:
        The threshold and an explanation.
    """
    scores, is_positive = np.asarray(probabilities, np.float64), np.asarray(positive, bool)
    patients = tuple(len(np.unique(patient_ids[is_positive == side])) for side in (False, True))
    facts = (len(scores), (patients[0], patients[1]))
    if isinstance(criterion, Mapping):
        ((name, target),) = ((key, value) for key, value in criterion.items() if value is not None)
        return _reach(scores, is_positive, name, target, *facts)
    if criterion == "argmax":
        return ThresholdChoice(DEFAULT, f"{DEFAULT}, as evaluate.threshold={criterion} specifies", *facts)
    if not min(patients):
        return ThresholdChoice(DEFAULT, f"validation has images of one class only: threshold {DEFAULT}", *facts, True)
    if min(patients) < MIN_PATIENTS:
        counts = f"{patients[0]} negative and {patients[1]} positive validation patients"
        return ThresholdChoice(DEFAULT, f"{DEFAULT}: {counts}, but {MIN_PATIENTS} of each are needed", *facts)
    low, value, high = _advantage(scores, is_positive, patient_ids)
    shown = f"difference in balanced accuracy {value:+.3f} ({low:+.3f} to {high:+.3f}) on held-out patients"
    if not low > 0:
        return ThresholdChoice(DEFAULT, f"{DEFAULT}: a tuned threshold is not significantly better, {shown}", *facts)
    tuned = best_threshold(scores, is_positive)
    return ThresholdChoice(tuned, f"tuned: better than {DEFAULT}, {shown}", *facts)


def best_threshold(probabilities: Floats, positive: Bools, tolerance: float = TOLERANCE) -> float:
    """Return the center of the thresholds whose balanced accuracy is close to the best.

    Args:
        probabilities: (n,) probabilities of the positive class.
        positive: (n,) True if the image is positive. Both values occur.
        tolerance: allowed loss of balanced accuracy, 0..1.

    Returns:
        The threshold, 0..1.
    """
    edges, below, missed = _curve(probabilities, positive)
    heights = (below + 1 - missed) / 2
    good = heights >= heights.max() - tolerance
    centers = []
    for top in np.flatnonzero(heights >= heights.max() - 1e-12):
        low = high = top
        while low > 0 and good[low - 1]:
            low -= 1
        while high < len(heights) - 1 and good[high + 1]:
            high += 1
        centers.append(float(edges[low] + edges[high + 1]) / 2)
    return min(centers, key=lambda center: abs(center - DEFAULT))


def _curve(probabilities: Floats, positive: Bools) -> tuple[Floats, Floats, Floats]:
    """Compute the fractions of negatives and of positives below every distinct threshold.

    All thresholds in (edges[i], edges[i + 1]] give the same decisions.

    Args:
        probabilities: (n,) probabilities of the positive class.
        positive: (n,) True if the image is positive. Both values occur.

    Returns:
        Edges (m + 1,), fractions of negatives (m,) and fractions of positives (m,).
    """
    levels = np.unique(probabilities)
    lowest = 0.0 if levels[0] > 0 else np.nextafter(levels[0], -np.inf)
    highest = 1.0 if levels[-1] < 1 else np.nextafter(levels[-1], np.inf)
    edges = np.concatenate([[lowest], levels, [highest]])
    fractions = []
    for side in (False, True):
        of_side = np.sort(probabilities[positive == side])
        fractions.append(np.searchsorted(of_side, edges[1:], side="left") / len(of_side))
    return edges, fractions[0], fractions[1]


def _reach(
    probabilities: Floats, positive: Bools, name: str, target: float, images: int, patients: tuple[int, int]
) -> ThresholdChoice:
    """Select the threshold at which the rate `name` is at least `target` and the other rate is highest."""
    if not min(patients):
        why = f"validation has images of one class only: threshold {DEFAULT}"
        return ThresholdChoice(DEFAULT, why, images, patients, True)
    edges, specificity, missed = _curve(probabilities, positive)
    sensitivity = 1 - missed
    if name == "specificity":
        selected = int(np.flatnonzero(specificity >= target - 1e-12)[0])
    else:
        selected = int(np.flatnonzero(sensitivity >= target - 1e-12)[-1])
    threshold = float(edges[selected] + edges[selected + 1]) / 2
    if threshold <= edges[selected]:  # the edges are adjacent in double precision
        threshold = float(edges[selected + 1])
    reached = f"specificity {specificity[selected]:.3f} and sensitivity {sensitivity[selected]:.3f} on validation"
    few = min(patients) < MIN_PATIENTS
    counts = f", from only {patients[0]} negative and {patients[1]} positive patients" if few else ""
    return ThresholdChoice(threshold, f"{name} of at least {target:g}: {reached}{counts}", images, patients, few)


def _advantage(probabilities: Floats, positive: Bools, patient_ids: npt.NDArray[Any]) -> tuple[float, float, float]:
    """Compute the gain in balanced accuracy of tuned thresholds over 0.5, by cross-validation over patients.

    The patients are divided into `N_FOLDS` folds with balanced classes. The threshold for each patient is tuned on the
    other folds. The interval is a jackknife over patients with Student's t.

    Args:
        probabilities: (n,) probabilities of the positive class.
        positive: (n,) True if the image is positive.
        patient_ids: (n,) patient of each image.

    Returns:
        Lower end, value and upper end of the gain.
    """
    from scipy.stats import t

    patients, member = np.unique(patient_ids, return_inverse=True)
    positive_fraction = np.bincount(member, weights=positive) / np.bincount(member)
    fold = np.empty(len(patients), np.int64)
    fold[np.argsort(positive_fraction, kind="stable")] = np.arange(len(patients)) % N_FOLDS
    threshold = np.empty(len(probabilities))
    for k in range(N_FOLDS):
        held_out = fold[member] == k
        tuned_on = positive[~held_out]
        has_both = 0 < tuned_on.sum() < len(tuned_on)
        threshold[held_out] = best_threshold(probabilities[~held_out], tuned_on) if has_both else DEFAULT
    gain = (probabilities >= threshold).astype(float) - (probabilities >= DEFAULT)
    sums = np.stack(
        [
            np.bincount(member, weights=values, minlength=len(patients))
            for values in (gain * positive, positive, gain * ~positive, ~positive)
        ]
    )
    sums_without = sums.sum(axis=1, keepdims=True) - sums  # without each patient

    def difference(hits: Floats) -> Floats:
        gain: Floats = (hits[0] / hits[1] - hits[2] / hits[3]) / 2
        return gain

    value, left_out = float(difference(sums.sum(axis=1))), difference(sums_without)
    n = len(patients)
    error = float(np.sqrt((n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()))
    sides = [len(np.unique(member[positive == side])) for side in (False, True)]
    width = float(t.ppf((1 + CONFIDENCE) / 2, min(sides) - 1)) * error
    return value - width, value, value + width

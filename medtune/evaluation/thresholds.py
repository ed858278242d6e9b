"""The decision threshold of a probability, chosen on pooled validation predictions.

A threshold that is fitted to few patients is unstable. So 0.5 stays unless another threshold is shown to be better on
patients that were not used to fit it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
DEFAULT = 0.5
# Patients per side below which no threshold is compared with 0.5.
MIN_PATIENTS = 10
# A tuned threshold is the centre of all thresholds whose balanced accuracy is this close to the best.
TOLERANCE = 0.03
PARTS = 10
CONFIDENCE = 0.95


@dataclass(frozen=True)
class ThresholdChoice:
    """A chosen threshold.

    Attributes:
        threshold: from it on, a probability is positive.
        why: how it was chosen, one sentence without a full stop.
        images: validation images that it was chosen from.
        patients: validation patients with negative and with positive images.
        failed: True if what was asked for could not be chosen.
    """

    threshold: float
    why: str
    images: int
    patients: tuple[int, int]
    failed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """What bundle.json and metrics.json say of the choice, besides the threshold."""
        return {
            "chosen_on": "validation",
            "why": self.why,
            "images": self.images,
            "patients": dict(zip(("negative", "positive"), self.patients, strict=True)),
            **({"reason": self.why} if self.failed else {}),
        }


def choose_threshold(
    probabilities: npt.NDArray, positive: npt.NDArray, patient_ids: npt.NDArray, criterion: str | Mapping[str, float]
) -> ThresholdChoice:
    """Choose the threshold of one probability.

    Args:
        probabilities: (n,) calibrated, of the positive class or finding, 0..1.
        positive: (n,) bool, the image is positive.
        patient_ids: (n,) patients.
        criterion: `argmax`, always 0.5. `balanced_accuracy`, 0.5 or a threshold that is better with a confidence of
            95 %. `{"specificity": s}` and `{"sensitivity": s}`, the threshold that reaches s on these images and loses
            the least of the other.
    """
    found, is_positive = np.asarray(probabilities, np.float64), np.asarray(positive, bool)
    patients = tuple(len(np.unique(patient_ids[is_positive == side])) for side in (False, True))
    facts = (len(found), (patients[0], patients[1]))
    if isinstance(criterion, Mapping):
        ((name, target),) = ((key, value) for key, value in criterion.items() if value is not None)
        return _reach(found, is_positive, name, target, *facts)
    if criterion == "argmax":
        return ThresholdChoice(DEFAULT, f"{DEFAULT}, as evaluate.threshold says", *facts)
    if not min(patients):
        return ThresholdChoice(DEFAULT, f"validation has images of one class only: threshold {DEFAULT}", *facts, True)
    if min(patients) < MIN_PATIENTS:
        counts = f"{patients[0]} negative and {patients[1]} positive validation patients"
        return ThresholdChoice(DEFAULT, f"{DEFAULT}: {counts}, and {MIN_PATIENTS} of each are needed", *facts)
    low, value, high = _advantage(found, is_positive, patient_ids)
    shown = f"balanced accuracy {value:+.3f} ({low:+.3f} to {high:+.3f}) on patients left out"
    if not low > 0:
        return ThresholdChoice(DEFAULT, f"{DEFAULT}: a tuned threshold is not shown to be better, {shown}", *facts)
    tuned = best_threshold(found, is_positive)
    return ThresholdChoice(tuned, f"tuned: better than {DEFAULT}, {shown}", *facts)


def best_threshold(probabilities: Floats, positive: Bools, tolerance: float = TOLERANCE) -> float:
    """Centre of the thresholds around the best balanced accuracy that lose at most `tolerance` of it.

    Args:
        probabilities: (n,) of the positive class.
        positive: (n,) bool, of both values.
        tolerance: of the balanced accuracy, 0..1.
    """
    edges, below, missed = _curve(probabilities, positive)
    heights = (below + 1 - missed) / 2
    good = heights >= heights.max() - tolerance
    found = []
    for top in np.flatnonzero(heights >= heights.max() - 1e-12):
        low = high = top
        while low > 0 and good[low - 1]:
            low -= 1
        while high < len(heights) - 1 and good[high + 1]:
            high += 1
        found.append(float(edges[low] + edges[high + 1]) / 2)
    return min(found, key=lambda centre: abs(centre - DEFAULT))


def _curve(probabilities: Floats, positive: Bools) -> tuple[Floats, Floats, Floats]:
    """Edges (m + 1,), and the shares (m,) of negatives and of positives below them.

    All thresholds in (edges[i], edges[i + 1]] decide alike.
    """
    levels = np.unique(probabilities)
    lowest = 0.0 if levels[0] > 0 else np.nextafter(levels[0], -np.inf)
    highest = 1.0 if levels[-1] < 1 else np.nextafter(levels[-1], np.inf)
    edges = np.concatenate([[lowest], levels, [highest]])
    shares = []
    for side in (False, True):
        own = np.sort(probabilities[positive == side])
        shares.append(np.searchsorted(own, edges[1:], side="left") / len(own))
    return edges, shares[0], shares[1]


def _reach(
    probabilities: Floats, positive: Bools, name: str, target: float, images: int, patients: tuple[int, int]
) -> ThresholdChoice:
    if not min(patients):
        why = f"validation has images of one class only: threshold {DEFAULT}"
        return ThresholdChoice(DEFAULT, why, images, patients, True)
    edges, specificity, missed = _curve(probabilities, positive)
    sensitivity = 1 - missed
    if name == "specificity":
        chosen = int(np.flatnonzero(specificity >= target - 1e-12)[0])
    else:
        chosen = int(np.flatnonzero(sensitivity >= target - 1e-12)[-1])
    threshold = float(edges[chosen] + edges[chosen + 1]) / 2
    if threshold <= edges[chosen]:  # neighbors in double precision
        threshold = float(edges[chosen + 1])
    reached = f"specificity {specificity[chosen]:.3f} and sensitivity {sensitivity[chosen]:.3f} on validation"
    few = min(patients) < MIN_PATIENTS
    counts = f", from only {patients[0]} negative and {patients[1]} positive patients" if few else ""
    return ThresholdChoice(threshold, f"{name} of at least {target:g}: {reached}{counts}", images, patients, few)


def _advantage(probabilities: Floats, positive: Bools, patient_ids: npt.NDArray) -> tuple[float, float, float]:
    """Balanced accuracy of tuned thresholds minus that of 0.5: lower end, value, upper end.

    The threshold of each patient is tuned on others.
    The interval is a jackknife over patients with Student's t. Patients are divided into `PARTS` with the classes
    spread over them.
    """
    from scipy.stats import t

    patients, member = np.unique(patient_ids, return_inverse=True)
    share = np.bincount(member, weights=positive) / np.bincount(member)
    part = np.empty(len(patients), np.int64)
    part[np.argsort(share, kind="stable")] = np.arange(len(patients)) % PARTS
    threshold = np.empty(len(probabilities))
    for k in range(PARTS):
        out = part[member] == k
        inside = positive[~out]
        threshold[out] = best_threshold(probabilities[~out], inside) if 0 < inside.sum() < len(inside) else DEFAULT
    gain = (probabilities >= threshold).astype(float) - (probabilities >= DEFAULT)
    sums = np.stack(
        [
            np.bincount(member, weights=values, minlength=len(patients))
            for values in (gain * positive, positive, gain * ~positive, ~positive)
        ]
    )
    left = sums.sum(axis=1, keepdims=True) - sums

    def difference(hits: npt.NDArray) -> npt.NDArray:
        return (hits[0] / hits[1] - hits[2] / hits[3]) / 2

    value, without = float(difference(sums.sum(axis=1))), difference(left)
    n = len(patients)
    error = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
    sides = [len(np.unique(member[positive == side])) for side in (False, True)]
    width = float(t.ppf((1 + CONFIDENCE) / 2, min(sides) - 1)) * error
    return value - width, value, value + width

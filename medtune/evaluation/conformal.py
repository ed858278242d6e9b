"""Conformal calibration of prediction sets with patients as the exchangeable unit.

Images of one patient depend on each other, so the quantile of split conformal prediction over images promises too
much. Each of K calibration patients gets the weight 1 / (K + 1), shared by its images, and the rest of the weight lies
at infinity (hierarchical conformal prediction: Lee, Barber and Willett, 2023, "Distribution-free inference with
hierarchical data", eq. 5; without the point at infinity it is the pooled CDF of Dunn, Wasserman and Ramdas, 2022). The
set of an image of a new patient then contains its label with at least the requested probability, for any number of
calibration patients that admits a set at all.

The score of an image is the probability of its label: the set holds every class that reaches a limit.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.data.class_selection import list_names
from medtune.serving.prediction_sets import SEPARATOR

Floats = npt.NDArray[np.float64]
_ROUNDING = 1e-9


def min_patients(coverage: float) -> int:
    """Fewest patients that admit a set of the requested coverage: K / (K + 1) must reach it."""
    return math.ceil(coverage / (1 - coverage) - _ROUNDING)


def lowest_probability(label_probabilities: Floats, patient_ids: npt.NDArray, coverage: float) -> float | None:
    """Compute the limit that a class must reach to be in the set.

    Args:
        label_probabilities: (n,) probability of each calibration image's label.
        patient_ids: (n,) patients.
        coverage: requested, 0..1.

    Returns:
        The limit, 0..1; None where there are too few patients.
    """
    patients, member, images = np.unique(patient_ids, return_inverse=True, return_counts=True)
    if len(patients) < min_patients(coverage):
        return None
    order = np.argsort(-label_probabilities, kind="stable")
    covered = np.cumsum(1 / images[member[order]])
    needed = coverage * (len(patients) + 1) - _ROUNDING
    return float(label_probabilities[order][min(int(np.searchsorted(covered, needed)), len(order) - 1)])


def calibrate(
    probabilities: Floats, labels: npt.NDArray, patient_ids: npt.NDArray, classes: Sequence[str], coverage: float
) -> dict[str, Any]:
    """Fit the limits of prediction sets: one per class where each class has enough patients, else one for all.

    Args:
        probabilities: (n, classes) of the calibration images, by networks that were not trained on them.
        labels: (n,) class indices.
        patient_ids: (n,) patients.
        classes: class names, in the order of the columns.
        coverage: requested, 0..1.

    Returns:
        bundle.json's `prediction_sets`: `coverage`, `holds_for` (`each class`, or `all images together`),
        `min_probability` and `patients` by class; or `reason`, why there are no sets.
    """
    if any(SEPARATOR in name for name in classes):
        return {"reason": f"a class name contains {SEPARATOR}, which separates the classes of a set"}
    scores = probabilities[np.arange(len(labels)), labels]
    needed, found = min_patients(coverage), len(np.unique(patient_ids))
    if found < needed:
        return {
            "reason": f"a coverage of {100 * coverage:g} % needs calibration images of at least {needed} patients; "
            f"there are {found}"
        }
    if absent := [name for k, name in enumerate(classes) if not (labels == k).any()]:
        return {"reason": f"no calibration image is {list_names(absent, 5)}"}
    by_class = [labels == k for k in range(len(classes))]
    patients = [len(np.unique(patient_ids[chosen])) for chosen in by_class]
    conditional = min(patients) >= needed
    limits = [
        lowest_probability(scores[chosen], patient_ids[chosen], coverage)
        for chosen in (by_class if conditional else [np.ones(len(labels), bool)] * len(classes))
    ]
    return {
        "coverage": coverage,
        "holds_for": "each class" if conditional else "all images together",
        "min_probability": dict(zip(classes, limits, strict=True)),
        "patients": dict(zip(classes, patients, strict=True)),
    }

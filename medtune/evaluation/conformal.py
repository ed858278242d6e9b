"""Conformal calibration of prediction sets with patients as the exchangeable unit.

A prediction set contains the classes that the calibration cannot rule out. Images of one patient depend on each other,
so the guarantee of split conformal prediction over images does not hold. Here each of K calibration patients has the
weight 1 / (K + 1), divided equally among the patient's images. A new patient has the remaining weight 1 / (K + 1). The
score of the new patient is unknown and counts as the worst possible score. The prediction set of a new patient's image
then contains the label with at least the requested probability. This holds for every K of at least `min_patients`.

This is hierarchical conformal prediction (Lee, Barber and Willett, 2023, "Distribution-free inference with
hierarchical data", eq. 5). Without the weight of the new patient, the method is the pooled CDF of Dunn, Wasserman and
Ramdas, 2022.

The score of an image is the probability of its label. A prediction set contains every class whose probability is at
least the limit of this class.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.data.class_selection import list_names
from medtune.serving.prediction_sets import SEPARATOR

Floats = npt.NDArray[np.float64]
_ROUNDING = 1e-9  # tolerance for rounding errors


def min_patients(coverage: float) -> int:
    """Return the smallest number of patients K for which K / (K + 1) reaches the requested coverage (0..1)."""
    return math.ceil(coverage / (1 - coverage) - _ROUNDING)


def lowest_probability(label_probabilities: Floats, patient_ids: npt.NDArray[Any], coverage: float) -> float | None:
    """Compute the limit: the lowest probability at which a class is in the prediction set.

    Args:
        label_probabilities: (n,) probability of the label of each calibration image.
        patient_ids: (n,) patient of each image.
        coverage: requested coverage, 0..1.

    Returns:
        The limit, 0..1; None if there are too few patients.
    """
    patients, member, images = np.unique(patient_ids, return_inverse=True, return_counts=True)
    if len(patients) < min_patients(coverage):
        return None
    order = np.argsort(-label_probabilities, kind="stable")
    covered = np.cumsum(1 / images[member[order]])
    needed = coverage * (len(patients) + 1) - _ROUNDING
    return float(label_probabilities[order][min(int(np.searchsorted(covered, needed)), len(order) - 1)])


def calibrate(
    probabilities: Floats,
    labels: npt.NDArray[Any],
    patient_ids: npt.NDArray[Any],
    classes: Sequence[str],
    coverage: float,
) -> dict[str, Any]:
    """Fit the limits of prediction sets.

    There is one limit per class if every class has enough patients. Otherwise all classes share one limit.

    Args:
        probabilities: (n, classes) probabilities of the calibration images, from networks not trained on these images.
        labels: (n,) class indices.
        patient_ids: (n,) patient of each image.
        classes: class names, in the order of the columns.
        coverage: requested coverage, 0..1.

    Returns:
        Value of `prediction_sets` in bundle.json. The keys are `coverage`, `holds_for` (`each class` or
        `all images together`), and by class `min_probability` (the limit) and `patients`. If no limits can be computed,
        the only key is `reason`.
    """
    if any(SEPARATOR in name for name in classes):
        return {"reason": f"a class name contains {SEPARATOR}, which separates the classes of a set"}
    scores = probabilities[np.arange(len(labels)), labels]
    needed, n_patients = min_patients(coverage), len(np.unique(patient_ids))
    if n_patients < needed:
        return {
            "reason": f"a coverage of {100 * coverage:g} % needs calibration images of at least {needed} patients; "
            f"there are {n_patients}"
        }
    if absent := [name for k, name in enumerate(classes) if not (labels == k).any()]:
        return {"reason": f"no calibration image has the class {list_names(absent, 5)}"}
    by_class = [labels == k for k in range(len(classes))]
    patients = [len(np.unique(patient_ids[selected])) for selected in by_class]
    conditional = min(patients) >= needed
    limits = [
        lowest_probability(scores[selected], patient_ids[selected], coverage)
        for selected in (by_class if conditional else [np.ones(len(labels), bool)] * len(classes))
    ]
    return {
        "coverage": coverage,
        "holds_for": "each class" if conditional else "all images together",
        "min_probability": dict(zip(classes, limits, strict=True)),
        "patients": dict(zip(classes, patients, strict=True)),
    }

"""The decision rule, fitted on validation: the most probable class, or for two classes a threshold."""

from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.evaluation.bootstrap import resamples

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
N_BOOTSTRAP = 500
# Validation sets hold tens of patients, so five points below the best may as well be the best. On simulated
# validation sets of 8 to 40 patients new patients were served best by 0.04 to 0.08; the bare optimum lost 0.4 points.
TOLERANCE = 0.05


def fit_decision(
    probabilities: Floats,
    labels: Ints,
    patient_ids: npt.NDArray,
    classes: tuple[str, ...],
    criterion: str = "balanced_accuracy",
    seed: int = 0,
) -> dict[str, Any]:
    """The decision rule for calibrated validation `probabilities` (n, classes).

    For two classes, the threshold on the positive class's probability with the best balanced accuracy, averaged
    over resamples of the validation patients, since one set of few patients has chance optima: the
    centre of the best plateau of that mean curve, of equals the one nearest 0.5.

    Args:
        probabilities: calibrated.
        labels: (n,) class indices.
        patient_ids: (n,) patients.
        classes: names, in index order: of two, the negative and the positive one.
        criterion: `balanced_accuracy`, or `argmax` for the most probable class.
        seed: of the resampling.

    Returns:
        What `medtune.serving.tasks.classification.decide` takes and bundle.json holds:
        `{"kind": "threshold", "positive": ..., "threshold": ...,
        "chosen_on": "validation", "criterion": ...}` or `{"kind": "argmax"}`; `reason` where the choice failed.
    """
    if len(classes) != 2 or criterion == "argmax":
        return {"kind": "argmax"}
    rule = {"kind": "threshold", "positive": classes[1], "threshold": 0.5, "chosen_on": "validation"}
    rule["criterion"] = criterion
    if len(np.unique(labels)) < 2:
        return rule | {"reason": "validation has one class only: threshold 0.5"}
    edges, heights = bootstrapped_curve(probabilities[:, 1], labels, patient_ids, seed)
    return rule | {"threshold": best_plateau(edges, heights)}


def bootstrapped_curve(
    positive: Floats, labels: Ints, patient_ids: npt.NDArray, seed: int = 0
) -> tuple[Floats, Floats]:
    """Balanced accuracy over thresholds, averaged over resamples of the patients.

    Args:
        positive: (n,) probability of the positive class.
        labels: (n,) 0 or 1, both present.
        patient_ids: (n,) patients.
        seed: of the resampling.

    Returns:
        Edges (m + 1,) from 0 to 1, and the height (m,) between each two of them: every threshold in
        (edges[i], edges[i + 1]] decides alike.
    """
    levels, level = np.unique(positive, return_inverse=True)
    patients, member = np.unique(patient_ids, return_inverse=True)
    place = member * len(levels) + level
    counts = [
        np.bincount(place, weights=labels == k, minlength=len(patients) * len(levels)).reshape(len(patients), -1)
        for k in (0, 1)
    ]
    total, defined = np.zeros(len(levels) + 1), 0
    for weights in resamples(len(patients), N_BOOTSTRAP, seed, len(levels)):
        negatives, positives = weights @ counts[0], weights @ counts[1]
        both = (negatives.sum(axis=1) > 0) & (positives.sum(axis=1) > 0)
        below = _fraction_below(negatives[both])  # specificity: negatives under the threshold
        missed = _fraction_below(positives[both])
        total += ((below + 1 - missed) / 2).sum(axis=0)
        defined += int(both.sum())
    edges = np.concatenate([[0.0], levels, [1.0]])
    return edges, total / defined


def best_plateau(edges: Floats, heights: Floats, tolerance: float = TOLERANCE) -> float:
    """Centre of the stretch of thresholds, around the highest, whose height is within `tolerance` of it."""
    good = heights >= heights.max() - tolerance
    found = []
    for top in np.flatnonzero(heights >= heights.max() - 1e-12):
        low = high = top
        while low > 0 and good[low - 1]:
            low -= 1
        while high < len(heights) - 1 and good[high + 1]:
            high += 1
        found.append(float(edges[low] + edges[high + 1]) / 2)
    return min(found, key=lambda centre: abs(centre - 0.5))


def _fraction_below(counts: Floats) -> Floats:
    sums = np.zeros((counts.shape[0], counts.shape[1] + 1))
    np.cumsum(counts, axis=1, out=sums[:, 1:])
    return sums / sums[:, -1:]

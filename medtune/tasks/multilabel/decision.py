"""The threshold of each finding, chosen on validation patients."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.evaluation.bootstrap import resamples
from medtune.tasks.classification.decision import N_BOOTSTRAP, best_plateau

Floats = npt.NDArray[np.float64]
# With fewer patients on one side the best threshold is that of one or two images.
MIN_PATIENTS = 3
DEFAULT = 0.5


def fit_decision(
    probabilities: Floats,
    labels: npt.NDArray,
    patient_ids: npt.NDArray,
    names: Sequence[str],
    criterion: str = "balanced_accuracy",
    seed: int = 0,
) -> dict[str, Any]:
    """The threshold of each finding on calibrated validation `probabilities` (n, findings).

    The best balanced accuracy, averaged over resamples of the patients, as for two classes
    (`medtune.tasks.classification.decision`); 0.5 where fewer than three patients show the finding or lack it.

    Args:
        probabilities: calibrated.
        labels: (n, findings), 1 where the image shows the finding.
        patient_ids: (n,) patients.
        names: findings.
        criterion: `balanced_accuracy`, or `argmax` for 0.5 everywhere.
        seed: of the resampling.

    Returns:
        What `medtune.serving.tasks.multilabel.decide` takes and bundle.json holds: `kind`, `thresholds` by finding,
        `criterion`, `chosen_on`, and `reasons` by finding where the choice failed.
    """
    labels = np.asarray(labels, bool)
    thresholds, reasons = dict.fromkeys(names, DEFAULT), {}
    chosen = []
    for k, name in enumerate(names):
        shown, others = (len(np.unique(patient_ids[labels[:, k] == value])) for value in (True, False))
        if criterion == "argmax":
            continue
        if min(shown, others) < MIN_PATIENTS:
            few = f"{shown} validation patients show it" if shown < MIN_PATIENTS else f"{others} lack it"
            reasons[name] = f"{few}, fewer than {MIN_PATIENTS}: threshold {DEFAULT}"
        else:
            chosen.append(k)
    curves = mean_curves(probabilities[:, chosen], labels[:, chosen], patient_ids, seed)
    for k, (edges, heights) in zip(chosen, curves, strict=True):
        thresholds[names[k]] = best_plateau(edges, heights)
    return {
        "kind": "thresholds",
        "thresholds": thresholds,
        "chosen_on": "validation",
        "criterion": "none" if criterion == "argmax" else criterion,
        "reasons": reasons,
    }


def mean_curves(
    probabilities: Floats, labels: npt.NDArray[np.bool_], patient_ids: npt.NDArray, seed: int = 0
) -> list[tuple[Floats, Floats]]:
    """Balanced accuracy over thresholds, averaged over resamples of the patients, of each finding.

    Args:
        probabilities: (n, findings).
        labels: (n, findings), of both values in each column.
        patient_ids: (n,) patients.
        seed: of the resampling.

    Returns:
        Edges (m + 1,) from 0 to 1, and the height (m,) between each two of them: every threshold in
        (edges[i], edges[i + 1]] decides alike.
    """
    patients, member = np.unique(patient_ids, return_inverse=True)
    orders = np.argsort(probabilities, axis=0, kind="stable")
    levels, last = [], []  # distinct probabilities, and the last image of each
    for k in range(probabilities.shape[1]):
        ranked = probabilities[orders[:, k], k]
        ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        levels.append(ranked[ends])
        last.append(ends)
    totals = [np.zeros(len(each) + 1) for each in levels]
    defined = np.zeros(len(levels), np.int64)
    for weights in resamples(len(patients), N_BOOTSTRAP, seed, len(member)):
        images = weights[:, member]
        for k, ends in enumerate(last):
            ordered, shown = images[:, orders[:, k]], labels[orders[:, k], k]
            positives, negatives = (np.cumsum(ordered * side, axis=1) for side in (shown, ~shown))
            both = (positives[:, -1] > 0) & (negatives[:, -1] > 0)
            missed, below = (sums[both][:, ends] / sums[both, -1:] for sums in (positives, negatives))
            totals[k][1:] += ((below + 1 - missed) / 2).sum(axis=0)
            totals[k][0] += both.sum() / 2
            defined[k] += both.sum()
    return [
        (np.concatenate([[0.0], each, [1.0]]), total / n)
        for each, total, n in zip(levels, totals, defined, strict=True)
    ]

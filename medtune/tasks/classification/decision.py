"""The decision rule: the most probable class, or for two classes a threshold chosen on validation predictions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.evaluation.thresholds import choose_threshold

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def fit_decision(
    probabilities: Floats,
    labels: Ints,
    patient_ids: npt.NDArray,
    classes: tuple[str, ...],
    criterion: str | Mapping[str, float] = "balanced_accuracy",
) -> dict[str, Any]:
    """Choose the decision rule on validation predictions.

    Args:
        probabilities: (n, classes), calibrated.
        labels: (n,) class indices.
        patient_ids: (n,) patients.
        classes: names, in index order: of two, the negative and the positive one.
        criterion: `argmax` for the most probable class, else as for
            `medtune.evaluation.thresholds.choose_threshold`; more than two classes have no threshold.

    Returns:
        What `medtune.serving.tasks.classification.decide` takes and bundle.json holds: `{"kind": "argmax"}`, or
        `{"kind": "threshold", "positive": ..., "threshold": ..., "criterion": ..., "chosen_on": "validation",
        "why": ..., "images": ..., "patients": ...}`; `reason` where the choice failed.
    """
    if len(classes) != 2 or criterion == "argmax":
        return {"kind": "argmax"}
    choice = choose_threshold(probabilities[:, 1], labels == 1, patient_ids, criterion)
    named = dict(criterion) if isinstance(criterion, Mapping) else criterion
    return {
        "kind": "threshold",
        "positive": classes[1],
        "threshold": choice.threshold,
        "criterion": named,
        **choice.as_dict(),
    }

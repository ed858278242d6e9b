"""Decision rule: the most probable class, or for two classes a threshold chosen on validation predictions."""

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
    patient_ids: npt.NDArray[Any],
    classes: tuple[str, ...],
    criterion: str | Mapping[str, float] = "balanced_accuracy",
) -> dict[str, Any]:
    """Choose the decision rule on validation predictions.

    Args:
        probabilities: (n, classes) calibrated probabilities.
        labels: (n,) class indices.
        patient_ids: (n,) patient of each image.
        classes: class names in index order. Of two classes, the second is the positive class.
        criterion: `argmax` for the most probable class, or a criterion of
            `medtune.evaluation.thresholds.choose_threshold`. More than two classes always use `argmax`.

    Returns:
        The rule for bundle.json and `medtune.serving.tasks.classification.decide`: `{"kind": "argmax"}`, or
        `{"kind": "threshold", "positive": ..., "threshold": ..., "criterion": ..., "chosen_on": "validation",
        "why": ..., "images": ..., "patients": ...}`, with `reason` if the choice failed.
    """
    if len(classes) != 2 or criterion == "argmax":
        return {"kind": "argmax"}
    choice = choose_threshold(probabilities[:, 1], labels == 1, patient_ids, criterion)
    return {
        "kind": "threshold",
        "positive": classes[1],
        "threshold": choice.threshold,
        "criterion": dict(criterion) if isinstance(criterion, Mapping) else criterion,
        **choice.as_dict(),
    }

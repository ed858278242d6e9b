"""The threshold of each finding, chosen on pooled validation predictions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.evaluation.thresholds import choose_threshold

Floats = npt.NDArray[np.float64]


def fit_decision(
    probabilities: Floats,
    labels: npt.NDArray,
    patient_ids: npt.NDArray,
    names: Sequence[str],
    criterion: str | Mapping[str, float] = "balanced_accuracy",
) -> dict[str, Any]:
    """Choose the threshold of each finding by itself.

    Args:
        probabilities: (n, findings), calibrated.
        labels: (n, findings), 1 where the image shows the finding.
        patient_ids: (n,) patients.
        names: findings.
        criterion: as for `medtune.evaluation.thresholds.choose_threshold`.

    Returns:
        What `medtune.serving.tasks.multilabel.decide` takes and bundle.json holds: `kind`, `thresholds` and `choices`
        by finding, `criterion`, `chosen_on`, and `reasons` by finding where the choice failed.
    """
    shown = np.asarray(labels, bool)
    choices = {
        name: choose_threshold(probabilities[:, k], shown[:, k], patient_ids, criterion) for k, name in enumerate(names)
    }
    return {
        "kind": "thresholds",
        "thresholds": {name: choice.threshold for name, choice in choices.items()},
        "chosen_on": "validation",
        "criterion": dict(criterion) if isinstance(criterion, Mapping) else criterion,
        "choices": {name: choice.as_dict() for name, choice in choices.items()},
        "reasons": {name: choice.why for name, choice in choices.items() if choice.failed},
    }

"""Decision rule: one threshold per finding, chosen on pooled validation predictions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.evaluation.thresholds import choose_threshold

Floats = npt.NDArray[np.float64]


def fit_decision(
    probabilities: Floats,
    labels: npt.NDArray[Any],
    patient_ids: npt.NDArray[Any],
    names: Sequence[str],
    criterion: str | Mapping[str, float] = "balanced_accuracy",
) -> dict[str, Any]:
    """Choose the threshold of each finding independently.

    Args:
        probabilities: (n, findings) calibrated probabilities.
        labels: (n, findings) 1 if the image shows the finding.
        patient_ids: (n,) patient of each image.
        names: names of the findings.
        criterion: criterion of `medtune.evaluation.thresholds.choose_threshold`.

    Returns:
        The rule for bundle.json and `medtune.serving.tasks.multilabel.decide`: `kind`, `criterion` and
        `chosen_on`; `thresholds` and `choices` with one entry per finding; `reasons` for failed choices.
    """
    labels = np.asarray(labels, bool)
    choices = {
        name: choose_threshold(probabilities[:, k], labels[:, k], patient_ids, criterion)
        for k, name in enumerate(names)
    }
    return {
        "kind": "thresholds",
        "thresholds": {name: choice.threshold for name, choice in choices.items()},
        "chosen_on": "validation",
        "criterion": dict(criterion) if isinstance(criterion, Mapping) else criterion,
        "choices": {name: choice.as_dict() for name, choice in choices.items()},
        "reasons": {name: choice.why for name, choice in choices.items() if choice.failed},
    }

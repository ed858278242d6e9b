"""Baseline of several findings: a class-weighted logistic regression per finding on features of the frozen backbone."""

from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.tasks.classification import baseline as of_one_finding

Floats = npt.NDArray[np.float64]


def fit_and_predict(features: npt.NDArray, targets: npt.NDArray, test: npt.NDArray, n_outputs: int) -> Floats:
    """Fit a logistic regression for each finding by itself.

    Args:
        features: (n, D) of the training images.
        targets: (n, findings), above 0 where the image shows the finding.
        test: (m, D).
        n_outputs: findings.

    Returns:
        (m, findings) probabilities; 0 or 1 for a finding that no training image, or every one, shows.
    """
    found = np.empty((len(test), n_outputs))
    for finding in range(n_outputs):
        shown = (targets[:, finding] > 0).astype(np.int64)
        if shown.min() == shown.max():
            found[:, finding] = shown[0]
        else:
            found[:, finding] = of_one_finding.fit_and_predict(features, shown, test, 2)[:, 1]
    return found


def document(findings: tuple[str, ...]) -> dict[str, Any]:
    """The fields of bundle.json that `evaluation.from_bundle` reads: a finding is predicted from 0.5 on."""
    return {
        "classes": list(findings),
        "decision": {"kind": "thresholds", "thresholds": dict.fromkeys(findings, 0.5)},
    }

"""Multilabel baseline: a class-weighted logistic regression per finding on features of the frozen backbone."""

from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.tasks.classification import baseline as binary_baseline

Floats = npt.NDArray[np.float64]


def fit_and_predict(
    features: npt.NDArray[Any], targets: npt.NDArray[Any], test: npt.NDArray[Any], n_outputs: int
) -> Floats:
    """Fit one logistic regression per finding.

    Args:
        features: (n, D) features of the training images.
        targets: (n, findings) positive if the image shows the finding.
        test: (m, D) features of the test images.
        n_outputs: number of findings.

    Returns:
        (m, findings) probabilities. If no training image shows a finding, its probability is 0. If every training image
        shows a finding, its probability is 1.
    """
    probabilities = np.empty((len(test), n_outputs))
    for finding in range(n_outputs):
        labels = (targets[:, finding] > 0).astype(np.int64)
        if labels.min() == labels.max():
            probabilities[:, finding] = labels[0]
        else:
            probabilities[:, finding] = binary_baseline.fit_and_predict(features, labels, test, 2)[:, 1]
    return probabilities


def document(findings: tuple[str, ...]) -> dict[str, Any]:
    """Return the bundle.json fields that `evaluation.from_bundle` reads. Every finding has the threshold 0.5."""
    return {
        "classes": list(findings),
        "decision": {"kind": "thresholds", "thresholds": dict.fromkeys(findings, 0.5)},
    }

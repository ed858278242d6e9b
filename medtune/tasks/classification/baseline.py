"""Baseline of a classifier: class-weighted logistic regression on features of the frozen backbone."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MAX_ITERATIONS = 5000


def fit_and_predict(
    features: npt.NDArray[Any], targets: npt.NDArray[Any], test: npt.NDArray[Any], n_outputs: int
) -> Floats:
    """Fit scikit-learn's LogisticRegression with its defaults and balanced class weights.

    Args:
        features: (n, D) features of the training images.
        targets: (n,) class indices.
        test: (m, D) features of the test images.
        n_outputs: number of classes.

    Returns:
        (m, classes) probabilities; 0 for a class without training images.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(class_weight="balanced", max_iter=MAX_ITERATIONS)
    model.fit(features.astype(np.float64), targets)
    probabilities = np.zeros((len(test), n_outputs))
    probabilities[:, model.classes_] = model.predict_proba(test.astype(np.float64))
    return probabilities


def document(classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the bundle.json fields that `evaluation.from_bundle` reads. The decision is the most probable class."""
    return {"classes": list(classes), "decision": {"kind": "argmax"}, "temperature": 1.0, "aggregation": "mean"}

"""Decision curves of a classifier with two classes."""

from typing import Any

from medtune.evaluation.net_benefit import DecisionCurve, decision_curve, useful_range
from medtune.evaluation.result import EvaluationResult


def decision_curves(result: EvaluationResult) -> dict[str, DecisionCurve]:
    """Compute the decision curve of the positive class; empty without exactly two classes and images of both."""
    pooled, classes = result.pooled, result.prepared.classes
    positive = pooled.labels == 1
    if len(classes) != 2 or positive.all() or not positive.any():
        return {}
    return {classes[1]: decision_curve(positive, pooled.probabilities[:, 1])}


def decision_curve_facts(curves: dict[str, DecisionCurve]) -> dict[str, Any]:
    """Return the values of metrics.json for `decision_curve`: the range of useful thresholds per class."""
    return {"useful_thresholds": {name: useful_range(curve) for name, curve in curves.items()}}

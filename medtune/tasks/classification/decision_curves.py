"""Decision curves of a classifier with two classes."""

from typing import Any

from medtune.evaluation.net_benefit import DecisionCurve, decision_curve, useful_range
from medtune.evaluation.result import EvaluationResult


def decision_curves(result: EvaluationResult) -> dict[str, DecisionCurve]:
    """Compute the curve of the positive class; empty where there are not two classes, or the images show only one."""
    scored, classes = result.pooled, result.prepared.classes
    positive = scored.labels == 1
    if len(classes) != 2 or positive.all() or not positive.any():
        return {}
    return {classes[1]: decision_curve(positive, scored.probabilities[:, 1])}


def decision_curve_facts(curves: dict[str, DecisionCurve]) -> dict[str, Any]:
    """What metrics.json says under `decision_curve`: per class the thresholds between which the model is useful."""
    return {"useful_thresholds": {name: useful_range(curve) for name, curve in curves.items()}}

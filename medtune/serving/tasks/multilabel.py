"""Multi-label classification (any number of findings per image): decision rule, results, and fields of bundle.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medtune.serving.field_error import show_json, wrong_field
from medtune.serving.prediction import FindingsPrediction

SEPARATOR = "|"
NO_FINDING = "No Finding"
_SHOWN = 30
_REQUIRED = {
    "classes": "a list of names of findings",
    "decision": 'a mapping with the key "kind", which is "thresholds"',
}


def decide(probabilities: np.ndarray, decision: Mapping[str, Any], findings: Sequence[str]) -> np.ndarray:
    """Apply the threshold of each finding. A probability that equals the threshold is positive.

    Args:
        probabilities: (n, findings).
        decision: `{"kind": "thresholds", "thresholds": {finding: t}}`.
        findings: names, in the order of the columns.

    Returns:
        bool (n, findings).
    """
    return np.asarray(probabilities >= np.array([decision["thresholds"][name] for name in findings]))


def validate(document: Mapping[str, Any]) -> str | None:
    """Return a message about the first invalid field of bundle.json, or None if all fields are valid."""
    if missing := [key for key in _REQUIRED if key not in document]:
        return wrong_field(missing[0], None, _REQUIRED[missing[0]])
    findings = document["classes"]
    if not isinstance(findings, list) or not findings or not all(isinstance(name, str) for name in findings):
        return wrong_field("classes", findings, _REQUIRED["classes"])
    if len(set(findings)) < len(findings):
        return wrong_field("classes", findings, "different names")
    if not isinstance(document.get("no_finding", NO_FINDING), str):
        return wrong_field("no_finding", document["no_finding"], "a string")
    decision = document["decision"]
    if not isinstance(decision, dict):
        return wrong_field("decision", decision, _REQUIRED["decision"])
    if decision.get("kind") != "thresholds":
        return wrong_field("decision.kind", decision.get("kind"), '"thresholds"')
    thresholds = decision.get("thresholds")
    if not isinstance(thresholds, dict):
        return wrong_field("decision.thresholds", thresholds, f"a threshold for each of {show_json(findings)}")
    if set(thresholds) != set(findings):
        return (
            f'key "decision.thresholds" has the findings {show_json(list(thresholds))}, but key "classes" has '
            f"{show_json(findings)}: expected the same findings"
        )
    for name, value in thresholds.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            return wrong_field(f"decision.thresholds.{name}", value, "a number")
    return None


def shape(document: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of the output of one network for one image: (findings,)."""
    return (len(document["classes"]),)


def columns(document: Mapping[str, Any]) -> list[str]:
    """Return the columns of the table: `prediction,prob_<finding>,...,pred_<finding>,...`."""
    findings = document["classes"]
    return ["prediction", *(f"prob_{name}" for name in findings), *(f"pred_{name}" for name in findings)]


def rows(output: np.ndarray, document: Mapping[str, Any]) -> list[list[Any]]:
    """Return one row per image: the positive findings joined by `|`, the probabilities, and the decisions (0 or 1)."""
    findings, no_finding = document["classes"], document.get("no_finding", NO_FINDING)
    decided = decide(output, document["decision"], findings)
    table = []
    for probabilities, decisions in zip(output.tolist(), decided.tolist(), strict=True):
        names = [name for name, positive in zip(findings, decisions, strict=True) if positive]
        table.append([SEPARATOR.join(names) or no_finding, *probabilities, *map(int, decisions)])
    return table


def entry(row: Sequence[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as JSON: the list `prediction`, and `probabilities` and `decisions` by finding."""
    result = prediction(row, document)
    return {"prediction": list(result.findings), "probabilities": result.probabilities, "decisions": result.decisions}


def prediction(row: Sequence[Any], document: Mapping[str, Any]) -> FindingsPrediction:
    """Return the result of `Bundle.predict` for one row."""
    findings = document["classes"]
    probabilities = dict(zip(findings, row[1 : 1 + len(findings)], strict=True))
    decisions = dict(zip(findings, map(bool, row[1 + len(findings) :]), strict=True))
    return FindingsPrediction(tuple(name for name in findings if decisions[name]), probabilities, decisions)


def summary(document: Mapping[str, Any]) -> str:
    """Describe the findings and their thresholds, for example `any of mass (from 0.31), edema (from 0.5)`.

    Args:
        document: content of bundle.json.

    Returns:
        The description, with at most 30 findings.
    """
    findings, thresholds = document["classes"], document["decision"]["thresholds"]
    more = f", and {len(findings) - _SHOWN:,} more" if len(findings) > _SHOWN else ""
    return "any of " + ", ".join(f"{name} (from {thresholds[name]:.3g})" for name in findings[:_SHOWN]) + more

"""Probabilities and decisions of several findings per image: what consumers and training both apply."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medtune.serving.prediction import FindingsPrediction

SEPARATOR = "|"
NO_FINDING = "No Finding"
_SHOWN = 30


def decide(probabilities: np.ndarray, decision: Mapping[str, Any], findings: Sequence[str]) -> np.ndarray:
    """Apply each finding's threshold; a probability equal to it is positive.

    Args:
        probabilities: (n, findings).
        decision: `{"kind": "thresholds", "thresholds": {finding: t}}`.
        findings: names, in the order of the columns.

    Returns:
        (n, findings) bool.
    """
    return probabilities >= np.array([decision["thresholds"][name] for name in findings])


def fault(document: Mapping[str, Any]) -> str | None:
    """The first field of bundle.json that is wrong, with its value and what is expected; None where all are right."""
    if missing := [key for key in ("classes", "decision") if key not in document]:
        return f"{missing[0]} is missing"
    findings = document["classes"]
    if not isinstance(findings, list) or not findings or not all(isinstance(one, str) for one in findings):
        return f"classes is {findings!r}: expected names of findings"
    if len(set(findings)) < len(findings):
        return f"classes is {findings!r}: duplicate name"
    if not isinstance(document.get("no_finding", NO_FINDING), str):
        return f"no_finding is {document['no_finding']!r}: expected a name"
    decision = document["decision"]
    if not isinstance(decision, dict) or decision.get("kind") != "thresholds":
        return f"decision is {decision!r}: expected the kind thresholds"
    thresholds = decision.get("thresholds")
    if not isinstance(thresholds, dict) or set(thresholds) != set(findings):
        return f"decision.thresholds is {thresholds!r}: expected one for each of {findings}"
    for name, value in thresholds.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            return f"decision.thresholds.{name} is {value!r}: expected a number"
    return None


def shape(document: Mapping[str, Any]) -> tuple[int, ...]:
    """(findings,)."""
    return (len(document["classes"]),)


def columns(document: Mapping[str, Any]) -> list[str]:
    """`prediction,prob_<finding>,...,pred_<finding>,...`."""
    findings = document["classes"]
    return ["prediction", *(f"prob_{name}" for name in findings), *(f"pred_{name}" for name in findings)]


def rows(output: np.ndarray, document: Mapping[str, Any]) -> list[list[Any]]:
    """Findings that are decided to be there, joined by `|`; the probability of each; 1 or 0 for each."""
    findings, none = document["classes"], document.get("no_finding", NO_FINDING)
    decided = decide(output, document["decision"], findings)
    found = []
    for probabilities, present in zip(output.tolist(), decided.tolist(), strict=True):
        names = [name for name, there in zip(findings, present, strict=True) if there]
        found.append([SEPARATOR.join(names) or none, *probabilities, *map(int, present)])
    return found


def entry(row: Sequence[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """`{"prediction": [finding, ...], "probabilities": {finding: p}, "decisions": {finding: true or false}}`."""
    found = prediction(row, document)
    return {"prediction": list(found.findings), "probabilities": found.probabilities, "decisions": found.decisions}


def prediction(row: Sequence[Any], document: Mapping[str, Any]) -> FindingsPrediction:
    """What `Bundle.predict` returns for one image."""
    findings = document["classes"]
    probabilities = dict(zip(findings, row[1 : 1 + len(findings)], strict=True))
    decisions = dict(zip(findings, map(bool, row[1 + len(findings) :]), strict=True))
    return FindingsPrediction(tuple(name for name in findings if decisions[name]), probabilities, decisions)


def summary(document: Mapping[str, Any]) -> str:
    """The findings with their thresholds, for example `any of mass (from 0.31), edema (from 0.5)`.

    Of more than 30 findings the first are named.
    """
    findings, thresholds = document["classes"], document["decision"]["thresholds"]
    more = f", and {len(findings) - _SHOWN:,} more" if len(findings) > _SHOWN else ""
    return "any of " + ", ".join(f"{name} (from {thresholds[name]:.3g})" for name in findings[:_SHOWN]) + more

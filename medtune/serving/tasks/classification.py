"""Class probabilities and the decision rule: what consumers and training both apply."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medtune.serving import prediction_sets
from medtune.serving.prediction import Prediction
from medtune.serving.slides.aggregate import extra_outputs

DECISIONS = ("argmax", "threshold")
_SHOWN_CLASSES = 30


def decide(probabilities: np.ndarray, decision: Mapping[str, Any], classes: Sequence[str]) -> np.ndarray:
    """Apply a decision rule.

    A probability equal to the threshold is positive; of equally probable classes the first is taken.

    Args:
        probabilities: (n, classes), rows sum to 1.
        decision: `{"kind": "argmax"}`, or `{"kind": "threshold", "positive": class, "threshold": t}`: the
            positive class from t on, else the other one.
        classes: class names, in the order of the columns.

    Returns:
        (n,) int64 class indices.

    Raises:
        ValueError: the kind of the decision is unknown.
    """
    if decision["kind"] == "argmax":
        return probabilities.argmax(axis=1).astype(np.int64)
    if decision["kind"] != "threshold":
        raise ValueError(f"decision kind {decision['kind']!r} is unknown: {' or '.join(DECISIONS)}")
    positive = list(classes).index(decision["positive"])
    return np.where(probabilities[:, positive] >= decision["threshold"], positive, 1 - positive).astype(np.int64)


def fault(document: Mapping[str, Any]) -> str | None:
    """The first field of bundle.json that is wrong, with its value and what is expected; None where all are right."""
    if missing := [key for key in ("classes", "decision") if key not in document]:
        return f"{missing[0]} is missing"
    classes = document["classes"]
    if not isinstance(classes, list) or not all(isinstance(one, str) for one in classes) or len(set(classes)) < 2:
        return f"classes is {classes!r}: expected at least two names"
    if len(set(classes)) < len(classes):
        return f"classes is {classes!r}: duplicate name"
    positive = document.get("positive")
    if positive is not None and (len(classes) != 2 or positive not in classes):
        return f"positive is {positive!r}: expected two classes and one of them; classes: {classes}"
    if wrong := prediction_sets.fault(document):
        return wrong
    decision = document["decision"]
    if not isinstance(decision, dict) or decision.get("kind") not in DECISIONS:
        return f"decision is {decision!r}: expected a kind, one of {', '.join(DECISIONS)}"
    if decision["kind"] == "argmax":
        return None
    if len(classes) != 2 or decision.get("positive") not in classes:
        return f"decision is {decision!r}: expected two classes and a positive one of them; classes: {classes}"
    if positive not in (None, decision["positive"]):
        return f"decision.positive is {decision['positive']!r}, but positive is {positive!r}: expected the same class"
    threshold = decision.get("threshold")
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    return None if number else f"decision.threshold is {threshold!r}: expected a number"


def shape(document: Mapping[str, Any]) -> tuple[int, ...]:
    """(classes,) of one network, or (classes + 1,) for tiles: see `medtune.serving.slides.aggregate`."""
    return (len(document["classes"]) + extra_outputs(document.get("aggregation")),)


def columns(document: Mapping[str, Any]) -> list[str]:
    """`prediction,prob_<class>,...`, then `set,uncertain` where the bundle has prediction sets."""
    added = prediction_sets.columns() if prediction_sets.is_available(document) else []
    return ["prediction", *(f"prob_{name}" for name in document["classes"]), *added]


def rows(output: np.ndarray, document: Mapping[str, Any]) -> list[list[Any]]:
    """Predicted class, the probability of each class, then the prediction set where the bundle has them."""
    classes = document["classes"]
    decided = decide(output, document["decision"], classes)
    added: list[list[Any]] = [[]] * len(output)
    if prediction_sets.is_available(document):
        added = prediction_sets.cells(output, decided, document)
    return [
        [classes[index], *row, *cells]
        for index, row, cells in zip(decided.tolist(), output.tolist(), added, strict=True)
    ]


def entry(row: Sequence[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """`{"prediction": class, "probabilities": {class: probability}}`, with `set` and `uncertain` if available."""
    found = prediction(row, document)
    told: dict[str, Any] = {"prediction": found.label, "probabilities": found.probabilities}
    return told if found.set is None else told | {"set": list(found.set), "uncertain": found.uncertain}


def prediction(row: Sequence[Any], document: Mapping[str, Any]) -> Prediction:
    """What `Bundle.predict` returns for one image."""
    end = 1 + len(document["classes"])
    found = prediction_sets.parse(row[end:]) if prediction_sets.is_available(document) else (None, None)
    return Prediction.of(row[0], dict(zip(document["classes"], row[1:end], strict=True)), *found)


def summary(document: Mapping[str, Any]) -> str:
    """The classes and the decision rule, for example `benign, malignant; malignant if prob_malignant >= 0.73`.

    Of more than 30 classes the first are named.
    """
    names, decision = document["classes"], document["decision"]
    more = f", and {len(names) - _SHOWN_CLASSES:,} more" if len(names) > _SHOWN_CLASSES else ""
    classes = ", ".join(names[:_SHOWN_CLASSES]) + more
    if decision["kind"] == "argmax":
        positive = f"; positive class: {document['positive']}" if document.get("positive") else ""
        return f"{classes}{positive}; the most probable class is predicted"
    positive = decision["positive"]
    return f"{classes}; {positive} if prob_{positive} >= {decision['threshold']:.3g}"

"""Classification (one class per image): decision rule, results, and fields of bundle.json."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medtune.serving import prediction_sets
from medtune.serving.field_error import one_of, show_json, wrong_field
from medtune.serving.prediction import Prediction
from medtune.serving.slides.aggregate import extra_outputs

DECISIONS = ("argmax", "threshold")
_SHOWN_CLASSES = 30
_REQUIRED = {
    "classes": "a list of at least two names",
    "decision": f'a mapping with the key "kind", which is {one_of(DECISIONS)}',
}


def decide(probabilities: np.ndarray, decision: Mapping[str, Any], classes: Sequence[str]) -> np.ndarray:
    """Apply a decision rule.

    A probability that equals the threshold is positive. Among equally probable classes, the first is chosen.

    Args:
        probabilities: (n, classes), rows sum to 1.
        decision: `{"kind": "argmax"}`, or `{"kind": "threshold", "positive": class, "threshold": t}`, which chooses
            the positive class if its probability is at least t.
        classes: class names, in the order of the columns.

    Returns:
        Class indices, int64 (n,).

    Raises:
        ValueError: the kind of the decision is unknown.
    """
    if decision["kind"] == "argmax":
        return np.asarray(probabilities.argmax(axis=1), np.int64)
    if decision["kind"] != "threshold":
        raise ValueError(f"decision kind {decision['kind']!r} is unknown: expected {' or '.join(map(repr, DECISIONS))}")
    positive = list(classes).index(decision["positive"])
    return np.where(probabilities[:, positive] >= decision["threshold"], positive, 1 - positive).astype(np.int64)


def validate(document: Mapping[str, Any]) -> str | None:
    """Return a message about the first invalid field of bundle.json, or None if all fields are valid."""
    if missing := [key for key in _REQUIRED if key not in document]:
        return wrong_field(missing[0], None, _REQUIRED[missing[0]])
    classes = document["classes"]
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes) or len(set(classes)) < 2:
        return wrong_field("classes", classes, _REQUIRED["classes"])
    if len(set(classes)) < len(classes):
        return wrong_field("classes", classes, "different names")
    positive = document.get("positive")
    if positive is not None and (error := _check_positive("positive", positive, classes)):
        return error
    if error := prediction_sets.validate(document):
        return error
    decision = document["decision"]
    if not isinstance(decision, dict):
        return wrong_field("decision", decision, _REQUIRED["decision"])
    if decision.get("kind") not in DECISIONS:
        return wrong_field("decision.kind", decision.get("kind"), one_of(DECISIONS))
    if decision["kind"] == "argmax":
        return None
    if len(classes) != 2:
        return f'key "decision.kind" is "threshold", which requires two classes, but key "classes" has {len(classes):,}'
    if error := _check_positive("decision.positive", decision.get("positive"), classes):
        return error
    if positive not in (None, decision["positive"]):
        return (
            f'key "decision.positive" is {show_json(decision["positive"])}, but key "positive" is '
            f"{show_json(positive)}: expected the same class"
        )
    threshold = decision.get("threshold")
    is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    return None if is_number else wrong_field("decision.threshold", threshold, "a number")


def _check_positive(key: str, name: Any, classes: list[str]) -> str | None:
    """Return a message if there are not two classes, or `name` is not one of them; otherwise None."""
    if not isinstance(name, str):
        return wrong_field(key, name, "the name of a class")
    if len(classes) != 2:
        return f'key "{key}" is {show_json(name)}, which requires two classes, but key "classes" has {len(classes):,}'
    return None if name in classes else wrong_field(key, name, one_of(classes))


def shape(document: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of the output of one network: (classes,), or (classes + 1,) for tiles with attention."""
    return (len(document["classes"]) + extra_outputs(document.get("aggregation")),)


def columns(document: Mapping[str, Any]) -> list[str]:
    """Return the columns of the table: `prediction,prob_<class>,...` and, with prediction sets, `set,uncertain`."""
    set_columns = prediction_sets.columns() if prediction_sets.is_available(document) else []
    return ["prediction", *(f"prob_{name}" for name in document["classes"]), *set_columns]


def rows(output: np.ndarray, document: Mapping[str, Any]) -> list[list[Any]]:
    """Return one row per image: the class, a probability per class, and the prediction set if the bundle has sets."""
    classes = document["classes"]
    decided = decide(output, document["decision"], classes)
    set_cells: list[list[Any]] = [[]] * len(output)
    if prediction_sets.is_available(document):
        set_cells = prediction_sets.cells(output, decided, document)
    return [
        [classes[index], *row, *cells]
        for index, row, cells in zip(decided.tolist(), output.tolist(), set_cells, strict=True)
    ]


def entry(row: Sequence[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as JSON: `prediction`, `probabilities` per class, and `set` and `uncertain` if available."""
    result = prediction(row, document)
    values: dict[str, Any] = {"prediction": result.label, "probabilities": result.probabilities}
    return values if result.set is None else values | {"set": list(result.set), "uncertain": result.uncertain}


def prediction(row: Sequence[Any], document: Mapping[str, Any]) -> Prediction:
    """Return the result of `Bundle.predict` for one row."""
    end = 1 + len(document["classes"])
    prediction_set = prediction_sets.parse(row[end:]) if prediction_sets.is_available(document) else (None, None)
    return Prediction.of(row[0], dict(zip(document["classes"], row[1:end], strict=True)), *prediction_set)


def summary(document: Mapping[str, Any]) -> str:
    """Describe the classes and the decision rule: `benign, malignant; malignant if prob_malignant >= 0.73`.

    Args:
        document: content of bundle.json.

    Returns:
        The description, with at most 30 classes.
    """
    names, decision = document["classes"], document["decision"]
    more = f", and {len(names) - _SHOWN_CLASSES:,} more" if len(names) > _SHOWN_CLASSES else ""
    classes = ", ".join(names[:_SHOWN_CLASSES]) + more
    if decision["kind"] == "argmax":
        positive = f"; positive class: {document['positive']}" if document.get("positive") else ""
        return f"{classes}{positive}; the most probable class is predicted"
    positive = decision["positive"]
    return f"{classes}; {positive} if prob_{positive} >= {decision['threshold']:.3g}"

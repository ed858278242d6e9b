"""Prediction sets. The set of an image contains all classes whose probability reaches a calibrated minimum.

The entry `prediction_sets.min_probability` of bundle.json contains the minimum of each class.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medtune.serving.field_error import show_json, wrong_field

KEY = "prediction_sets"
SEPARATOR = "|"


def is_available(document: Mapping[str, Any]) -> bool:
    """Return True if the bundle has calibrated prediction sets."""
    return KEY in document


def prediction_sets(probabilities: np.ndarray, sets: Mapping[str, Any], classes: Sequence[str]) -> np.ndarray:
    """Compute the prediction set of each image.

    Args:
        probabilities: (n, classes), rows sum to 1.
        sets: the entry `prediction_sets` of bundle.json.
        classes: class names, in the order of the columns.

    Returns:
        bool (n, classes), True for the classes in the set.
    """
    return np.asarray(probabilities >= np.array([sets["min_probability"][name] for name in classes]))


def columns() -> list[str]:
    """Return the columns that `predict` appends to the probabilities: `set` and `uncertain`."""
    return ["set", "uncertain"]


def is_uncertain(members: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """Find images whose prediction set differs from the decision.

    Args:
        members: bool (n, classes), True for the classes in the set.
        decided: class indices (n,) that the decision rule chooses.

    Returns:
        bool (n,), True if the set is empty, has several classes, or contains only another class than the decision.
    """
    return np.asarray((members.sum(axis=1) != 1) | ~members[np.arange(len(members)), decided])


def cells(probabilities: np.ndarray, decided: np.ndarray, document: Mapping[str, Any]) -> list[list[Any]]:
    """Return the values of `columns` for each image.

    Args:
        probabilities: (n, classes), rows sum to 1.
        decided: class indices (n,) that the decision rule chooses.
        document: content of bundle.json.

    Returns:
        Two values per image: the class names joined by `|`, and 1 if the prediction is uncertain, otherwise 0.
    """
    classes = document["classes"]
    members = prediction_sets(probabilities, document[KEY], classes)
    uncertain = is_uncertain(members, decided).astype(int).tolist()
    return [
        [SEPARATOR.join(name for name, inside in zip(classes, row, strict=True) if inside), flag]
        for row, flag in zip(members.tolist(), uncertain, strict=True)
    ]


def parse(cells: Sequence[Any]) -> tuple[tuple[str, ...], bool]:
    """Convert the values of one image from `cells` to class names and the flag `uncertain`."""
    names, uncertain = cells
    return tuple(names.split(SEPARATOR)) if names else (), bool(uncertain)


def validate(document: Mapping[str, Any]) -> str | None:
    """Return a message about the entry `prediction_sets` of bundle.json. None if it is valid or absent."""
    if not is_available(document):
        return None
    sets, classes = document[KEY], document["classes"]
    limits = sets.get("min_probability") if isinstance(sets, dict) else None
    if not isinstance(limits, dict):
        return wrong_field(f"{KEY}.min_probability", limits, f"a number for each of {show_json(classes)}")
    if set(limits) != set(classes):
        return (
            f'key "{KEY}.min_probability" has the classes {show_json(list(limits))}, but key "classes" has '
            f"{show_json(classes)}: expected the same classes"
        )
    for name, value in limits.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            return wrong_field(f"{KEY}.min_probability.{name}", value, "a number")
    if any(SEPARATOR in name for name in classes):
        return wrong_field("classes", classes, f'names without {SEPARATOR}, because the bundle has key "{KEY}"')
    return None

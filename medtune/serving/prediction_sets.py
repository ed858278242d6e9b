"""Prediction sets: every class that a calibrated threshold cannot rule out, and when a prediction is uncertain.

bundle.json states them under `prediction_sets`: `min_probability` is the lowest probability with which each class
belongs to the set.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

KEY = "prediction_sets"
SEPARATOR = "|"


def is_available(document: Mapping[str, Any]) -> bool:
    """Whether the bundle has calibrated prediction sets."""
    return KEY in document


def prediction_sets(probabilities: np.ndarray, sets: Mapping[str, Any], classes: Sequence[str]) -> np.ndarray:
    """Compute which classes belong to the set of each image.

    Args:
        probabilities: (n, classes), rows sum to 1.
        sets: bundle.json's entry.
        classes: class names, in the order of the columns.

    Returns:
        (n, classes) bool.
    """
    return probabilities >= np.array([sets["min_probability"][name] for name in classes])


def columns() -> list[str]:
    """`set,uncertain`: columns that `predict` adds to those of the probabilities."""
    return ["set", "uncertain"]


def is_uncertain(members: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """Find images whose set is not exactly the class that the decision rule gives.

    Args:
        members: (n, classes) the class is in the set.
        decided: (n,) class indices.

    Returns:
        (n,) bool: the set has several classes, none, or another one than the decision, whose threshold differs.
    """
    return (members.sum(axis=1) != 1) | ~members[np.arange(len(members)), decided]


def cells(probabilities: np.ndarray, decided: np.ndarray, document: Mapping[str, Any]) -> list[list[Any]]:
    """Values of `columns` per image: class names joined by `|`, and 1 where the prediction is uncertain."""
    classes = document["classes"]
    members = prediction_sets(probabilities, document[KEY], classes)
    uncertain = is_uncertain(members, decided).astype(int).tolist()
    return [
        [SEPARATOR.join(name for name, inside in zip(classes, row, strict=True) if inside), flag]
        for row, flag in zip(members.tolist(), uncertain, strict=True)
    ]


def parse(cells: Sequence[Any]) -> tuple[tuple[str, ...], bool]:
    """Class names and whether the prediction is uncertain, from the cells of one image."""
    names, uncertain = cells
    return tuple(names.split(SEPARATOR)) if names else (), bool(uncertain)


def fault(document: Mapping[str, Any]) -> str | None:
    """What is wrong with bundle.json's entry; None where it is right or absent."""
    if not is_available(document):
        return None
    sets, classes = document[KEY], document["classes"]
    limits = sets.get("min_probability") if isinstance(sets, dict) else None
    if not isinstance(limits, dict) or set(limits) != set(classes):
        return f"{KEY}.min_probability is {limits!r}: expected a number for each of {classes}"
    for name, value in limits.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            return f"{KEY}.min_probability.{name} is {value!r}: expected a number"
    if any(SEPARATOR in name for name in classes):
        return f"classes is {classes!r}: a bundle with {KEY} cannot have {SEPARATOR} in the name of a class"
    return None

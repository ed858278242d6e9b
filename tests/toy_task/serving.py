"""Output for consumers: the mean fraction of dark pixels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def validate(document: Mapping[str, Any]) -> str | None:
    return None if len(document["output"].get("shape", ())) == 3 else "output.shape: expected three sizes"


def shape(document: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(document["output"]["shape"][1:])


def columns(document: Mapping[str, Any]) -> list[str]:
    return ["density"]


def rows(output: np.ndarray, document: Mapping[str, Any]) -> list[list[Any]]:
    return [[float(value)] for value in output.mean(axis=(1, 2))]


def entry(row: Sequence[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    return {"density": row[0]}


prediction = entry


def summary(document: Mapping[str, Any]) -> str:
    return "shares of dark pixels"

"""A cell's predictions.csv as the sums behind its metrics."""

import csv
import hashlib
from dataclasses import dataclass

import numpy as np

from medtune.benchmark.report.records import Cell
from medtune.config.errors import InputError
from medtune.tasks.classification.statistics import ClassificationStats, accumulate

PREDICTIONS = "predictions.csv"
PROBABILITY = "prob_"


@dataclass(frozen=True)
class Predicted:
    """What a cell said of the test images.

    Attributes:
        images: digest of the images, their labels and patients, in order: equal where two cells can be paired.
        classes: names, in the order of the probabilities.
        sums: what metrics are computed from.
    """

    images: str
    classes: tuple[str, ...]
    sums: ClassificationStats


def read(cell: Cell) -> Predicted:
    """What a finished cell said of the test images.

    Raises:
        InputError: the file is not there or not what a cell writes.
    """
    if cell.folder is None:
        raise ValueError(f"{cell.identity.name} is not done")
    path = cell.folder / PREDICTIONS
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
        names = [name for name in reader.fieldnames or () if name.startswith(PROBABILITY)]
        classes = tuple(name.removeprefix(PROBABILITY) for name in names)
        told = [(row["path"], row["label"], row["group"]) for row in rows]
        sums = accumulate(
            np.array([classes.index(row["label"]) for row in rows], np.int64),
            np.array([[float(row[name]) for name in names] for row in rows]).reshape(len(rows), len(names)),
            np.array([classes.index(row["prediction"]) for row in rows], np.int64),
            np.array([row["group"] for row in rows]),
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} ({cell.identity.name}) cannot be read as predictions: {error}") from error
    return Predicted(hashlib.sha256(repr((classes, told)).encode()).hexdigest(), classes, sums)

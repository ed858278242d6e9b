"""predictions.csv of a classifier. Evaluation and benchmark write this file. Comparisons of models read it."""

import csv
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medtune.evaluation.result import StoredPredictions
from medtune.evaluation.tables import write_csv
from medtune.tasks.classification.folds import ClassifierPredictions
from medtune.tasks.classification.statistics import accumulate

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

PROBABILITY = "prob_"
LABEL_TYPE = "label_type"


def write_predictions(path: Path, prepared: "PreparedDataset", predictions: ClassifierPredictions) -> None:
    """Write `path,patient,label,prediction,prob_<class>...`, one line per test image and fold.

    Ordinal labels add a last column `label_type`.

    Args:
        path: file to write.
        prepared: prepared dataset.
        predictions: predictions of the test images.
    """
    classes = prepared.classes
    label_type = ["ordinal"] if predictions.ordinal else []
    rows = (
        [
            prepared.paths[row],
            patient,
            classes[label],
            classes[prediction],
            *(f"{p:.9g}" for p in probabilities),
            *label_type,
        ]
        for row, patient, label, prediction, probabilities in zip(
            predictions.rows,
            predictions.patient_ids,
            predictions.labels,
            predictions.predictions,
            predictions.probabilities,
            strict=True,
        )
    )
    columns = ["path", "patient", "label", "prediction", *(f"{PROBABILITY}{name}" for name in classes)]
    write_csv(path, [*columns, LABEL_TYPE] if predictions.ordinal else columns, rows)


def read_predictions(path: Path) -> StoredPredictions:
    """Read a file of `write_predictions`.

    Args:
        path: predictions.csv.

    Returns:
        The predictions.

    Raises:
        OSError: the file cannot be read.
        KeyError: a column is missing.
        TypeError: a line is truncated.
        ValueError: a value is invalid.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
    names = [name for name in reader.fieldnames or () if name.startswith(PROBABILITY)]
    classes = tuple(name.removeprefix(PROBABILITY) for name in names)
    content = [(row["path"], row["label"], row["patient"]) for row in rows]
    stats = accumulate(
        np.array([classes.index(row["label"]) for row in rows], np.int64),
        np.array([[float(row[name]) for name in names] for row in rows]).reshape(len(rows), len(names)),
        np.array([classes.index(row["prediction"]) for row in rows], np.int64),
        np.array([row["patient"] for row in rows]),
        ordinal=LABEL_TYPE in (reader.fieldnames or ()),
    )
    support = dict(zip(classes, stats.patients_per_class().tolist(), strict=True))
    return StoredPredictions(hashlib.sha256(repr((classes, content)).encode()).hexdigest(), stats, support)

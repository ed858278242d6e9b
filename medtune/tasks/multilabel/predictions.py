"""Multilabel predictions.csv. Evaluation and benchmark write this file. Comparisons of models read it."""

import csv
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medtune.data.findings import NO_FINDING, SEPARATOR, join_findings
from medtune.evaluation.result import StoredPredictions
from medtune.evaluation.tables import write_csv
from medtune.tasks.multilabel.folds import FindingPredictions
from medtune.tasks.multilabel.statistics import accumulate

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

PROBABILITY, DECISION = "prob_", "pred_"


def write_predictions(path: Path, prepared: "PreparedDataset", predictions: FindingPredictions) -> None:
    """Write `path,patient,label,prediction,prob_<finding>...,pred_<finding>...`, one line per test image and fold."""
    names, none = np.array(prepared.classes, object), prepared.info.get("no_finding", NO_FINDING)
    lines = []
    for position, row in enumerate(predictions.rows.tolist()):
        label, decided = predictions.labels[position], predictions.decided[position]
        lines.append(
            [
                prepared.paths[row],
                predictions.patient_ids[position],
                join_findings(names[label].tolist(), none),
                join_findings(names[decided].tolist(), none),
                *(f"{p:.9g}" for p in predictions.probabilities[position]),
                *decided.astype(int).tolist(),
            ]
        )
    columns = [f"{prefix}{name}" for prefix in (PROBABILITY, DECISION) for name in prepared.classes]
    write_csv(path, ["path", "patient", "label", "prediction", *columns], lines)


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
        ValueError: the columns or a value are invalid.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
    columns = list(reader.fieldnames or ())[4:]
    names = [column.removeprefix(PROBABILITY) for column in columns[: len(columns) // 2]]
    if not names or columns != [f"{prefix}{name}" for prefix in (PROBABILITY, DECISION) for name in names]:
        raise ValueError(f"{path.name}: columns {columns} are not probabilities and decisions of findings")
    shape = (len(rows), len(names))
    labels = np.array([[name in row["label"].split(SEPARATOR) for name in names] for row in rows], bool)
    decided = np.array([[int(row[f"{DECISION}{name}"]) for name in names] for row in rows], bool)
    probabilities = np.array([[float(row[f"{PROBABILITY}{name}"]) for name in names] for row in rows])
    patients = np.array([row["patient"] for row in rows])
    stats = accumulate(labels.reshape(shape), probabilities.reshape(shape), decided.reshape(shape), patients)
    support = dict(zip(names, (stats.actual > 0).sum(0).tolist(), strict=True))
    content = [(row["path"], row["label"], row["patient"]) for row in rows]
    return StoredPredictions(hashlib.sha256(repr((names, content)).encode()).hexdigest(), stats, support)

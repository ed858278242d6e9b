"""predictions.csv of a classifier: written by evaluate and benchmark, read back for comparisons."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medtune.evaluation.tables import write_csv
from medtune.tasks.classification.folds import ClassifierPredictions
from medtune.tasks.classification.statistics import ClassificationStats, accumulate

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

PROBABILITY = "prob_"
LABEL_TYPE = "label_type"


@dataclass(frozen=True)
class ReadPredictions:
    """Predictions read back.

    Attributes:
        images: digest of the images, their labels and patients, in order: equal where two files can be paired.
        stats: what metrics are computed from.
        support: test patients with images of each class.
    """

    images: str
    stats: ClassificationStats
    support: dict[str, int]


def write_predictions(path: Path, prepared: "PreparedDataset", scored: ClassifierPredictions) -> None:
    """Write `path,group,label,prediction,prob_<class>...`, one line per test image and fold.

    A last column `label_type` says that labels are ordinal, and is absent if they are not.
    """
    classes = prepared.classes
    kind = ["ordinal"] if scored.ordinal else []
    rows = (
        [prepared.paths[row], group, classes[label], classes[prediction], *(f"{p:.9g}" for p in probabilities), *kind]
        for row, group, label, prediction, probabilities in zip(
            scored.rows, scored.patient_ids, scored.labels, scored.predictions, scored.probabilities, strict=True
        )
    )
    columns = ["path", "group", "label", "prediction", *(f"{PROBABILITY}{name}" for name in classes)]
    write_csv(path, [*columns, LABEL_TYPE] if scored.ordinal else columns, rows)


def read_predictions(path: Path) -> ReadPredictions:
    """Read what `write_predictions` wrote.

    Raises:
        OSError, KeyError, TypeError, ValueError: the file is absent or damaged.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
    names = [name for name in reader.fieldnames or () if name.startswith(PROBABILITY)]
    classes = tuple(name.removeprefix(PROBABILITY) for name in names)
    content = [(row["path"], row["label"], row["group"]) for row in rows]
    stats = accumulate(
        np.array([classes.index(row["label"]) for row in rows], np.int64),
        np.array([[float(row[name]) for name in names] for row in rows]).reshape(len(rows), len(names)),
        np.array([classes.index(row["prediction"]) for row in rows], np.int64),
        np.array([row["group"] for row in rows]),
        ordinal=LABEL_TYPE in (reader.fieldnames or ()),
    )
    support = dict(zip(classes, stats.patients_per_class().tolist(), strict=True))
    return ReadPredictions(hashlib.sha256(repr((classes, content)).encode()).hexdigest(), stats, support)

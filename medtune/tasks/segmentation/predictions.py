"""File predictions.csv of a segmentation. `evaluate` and `benchmark` write it, and comparisons read it.

The file has all values from which the metrics are computed, with all digits. The label maps are in the folder
`segmentations` of the evaluation.
"""

import csv
import hashlib
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medtune.evaluation.result import StoredPredictions
from medtune.evaluation.tables import write_csv
from medtune.tasks.segmentation.case_metrics import NAN, LabelMetrics
from medtune.tasks.segmentation.statistics import accumulate
from medtune.tasks.segmentation.volume_predictions import VolumePredictions

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

FIELDS = tuple(field.name for field in fields(LabelMetrics) if field.name != "label")
UNCERTAINTY = "uncertainty"


def write_predictions(path: Path, prepared: "PreparedDataset", predictions: VolumePredictions) -> None:
    """Write `path,patient,<value>_<label>...`, one line per test volume and fold.

    The values of a label are the fields of `LabelMetrics` and `uncertainty`. Undefined values are empty cells.

    Args:
        path: predictions.csv.
        prepared: prepared dataset.
        predictions: predictions of the volumes.
    """
    columns = [f"{value}_{name}" for name in prepared.classes for value in (*FIELDS, UNCERTAINTY)]
    lines = [
        [
            prepared.paths[row],
            predictions.patient_ids[position],
            *(
                _cell(value)
                for case, doubt in zip(predictions.cases[position], predictions.uncertainty[position], strict=True)
                for value in (*(getattr(case, name) for name in FIELDS), float(doubt))
            ),
        ]
        for position, row in enumerate(predictions.rows.tolist())
    ]
    write_csv(path, ["path", "patient", *columns], lines)


def read_predictions(path: Path) -> StoredPredictions:
    """Read a file of `write_predictions`.

    Args:
        path: predictions.csv.

    Returns:
        The statistics of the predictions, the number of patients with each label, and a digest of the test volumes.

    Raises:
        OSError: the file cannot be read.
        KeyError: a column is missing.
        TypeError: a line is truncated.
        ValueError: the columns or a value are invalid.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
    columns = list(reader.fieldnames or ())[2:]
    first = f"{FIELDS[0]}_"
    names = [column.removeprefix(first) for column in columns[:: len(FIELDS) + 1]]
    if not names or columns != [f"{value}_{name}" for name in names for value in (*FIELDS, UNCERTAINTY)]:
        raise ValueError(f"{path.name}: columns {columns} are not metrics of labels")
    cases = [tuple(_case(row, name) for name in names) for row in rows]
    patients = np.array([row["patient"] for row in rows])
    stats = accumulate(cases, patients)
    support = dict(zip(names, stats.patients_per_class().tolist(), strict=True))
    content = [
        (row["path"], row["patient"], *(case.truth_ml for case in volume))
        for row, volume in zip(rows, cases, strict=True)
    ]
    return StoredPredictions(hashlib.sha256(repr((names, content)).encode()).hexdigest(), stats, support)


def _case(row: Mapping[str, str], label: str) -> LabelMetrics:
    return LabelMetrics(label, *(_number(row[f"{name}_{label}"]) for name in FIELDS))


def _cell(value: float) -> str | None:
    return None if math.isnan(value) else repr(float(value))


def _number(cell: str) -> float:
    return float(cell) if cell != "" else NAN

"""Tables of artifacts/evaluate: cases.csv with one row per volume and label, and the metrics per label."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medtune.evaluation.intervals import intervals
from medtune.evaluation.tables import write_csv
from medtune.serving.tasks.segmentation import SEPARATOR
from medtune.tasks.classification.class_metrics import reasons
from medtune.tasks.segmentation.case_metrics import LabelMetrics
from medtune.tasks.segmentation.metrics import REPORTED, label_metrics
from medtune.tasks.segmentation.statistics import SegmentationStats

# Columns of cases.csv and the attributes of `LabelMetrics` that they contain. Volume errors have a sign.
COLUMNS = {
    "truth_ml": "truth_ml",
    "prediction_ml": "prediction_ml",
    "dice": "dice",
    "nsd": "nsd",
    "hd95_mm": "hd95",
    "volume_error_ml": "volume_error",
    "volume_error_percent": "volume_error_percent",
    "sensitivity": "sensitivity",
    "precision": "precision",
}


def write_cases(
    path: Path,
    volumes: Sequence[str],
    patients: Sequence[str],
    cases: Sequence[Sequence[LabelMetrics]],
    flags: Sequence[Sequence[str]],
) -> None:
    """Write `volume,patient,label,outcome`, the metrics and `flags`, one line per volume and label.

    Numbers have six significant digits. Undefined values are empty cells. Flags have the format of volumes.csv.

    Args:
        path: cases.csv.
        volumes: name of each volume.
        patients: patient id of each volume.
        cases: metrics of every label, per volume.
        flags: differences from the training volumes, per volume.

    Raises:
        ValueError: the numbers of names, patient ids, volumes and flags differ.
    """
    rows = [
        [
            volume,
            patient,
            case.label,
            case.outcome,
            *(_cell(getattr(case, name)) for name in COLUMNS.values()),
            SEPARATOR.join(differences),
        ]
        for volume, patient, labels, differences in zip(volumes, patients, cases, flags, strict=True)
        for case in labels
    ]
    write_csv(path, ["volume", "patient", "label", "outcome", *COLUMNS, "flags"], rows)


def per_label(stats: SegmentationStats, confidence: float) -> list[dict[str, Any]]:
    """Compute the metrics of each label with confidence intervals.

    Args:
        stats: statistics of the test volumes.
        confidence: confidence level, 0..1.

    Returns:
        One row per label, `{label, volumes, n_truth, n_empty, n_missed, n_spurious, <metric>, <metric>_lo,
        <metric>_hi, ..., reason}`. `n_truth` is the number of volumes whose truth contains the label. `n_empty` is
        the number of volumes in which neither mask contains the label. `n_missed` counts the volumes in which only the
        truth contains it, and `n_spurious` those in which only the prediction contains it. Undefined values are
        None. `reason` explains missing intervals, or is None.
    """
    by_name = intervals(label_metrics(stats.labels), stats, confidence)
    counts = {name: values.sum(axis=0).astype(int).tolist() for name, values in stats.outcomes.items()}
    rows = []
    for index, label in enumerate(stats.labels):
        row: dict[str, Any] = {
            "label": label,
            "volumes": int(stats.volumes.sum()),
            "n_truth": counts["both"][index] + counts["missed"][index],
            "n_empty": counts["both empty"][index],
            "n_missed": counts["missed"][index],
            "n_spurious": counts["spurious"][index],
        }
        values = {quantity.name: by_name[f"{quantity.name}/{label}"] for quantity in REPORTED}
        for name, interval in values.items():
            row |= {name: interval.value, f"{name}_lo": interval.lo, f"{name}_hi": interval.hi}
        rows.append(row | {"reason": reasons(values)})
    return rows


def _cell(value: float) -> str | None:
    return None if np.isnan(value) else f"{value:.6g}"

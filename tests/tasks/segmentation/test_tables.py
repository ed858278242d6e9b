"""cases.csv and the table per label."""

import csv

import numpy as np
import pytest

from medtune.tasks.segmentation.case_metrics import case_metrics
from medtune.tasks.segmentation.metrics import example
from medtune.tasks.segmentation.statistics import accumulate
from medtune.tasks.segmentation.tables import per_label, write_cases

LABELS = {"organ": 1, "lesion": 2}


@pytest.fixture
def cases():
    truth, prediction = np.zeros((2, 6, 6, 6), np.uint8)
    truth[1:3], prediction[1:4] = 1, 1
    with_lesion = prediction.copy()
    with_lesion[5, 5, 5] = 2
    return [case_metrics(truth, mask, (10, 10, 10), LABELS) for mask in (prediction, with_lesion)]


def test_write_cases__one_row_per_volume_and_label(tmp_path, cases):
    write_cases(tmp_path / "cases.csv", ["a.nii.gz", "b.nii.gz"], ["p1", "p2"], cases, [(), ("spacing z", "intensity")])
    with (tmp_path / "cases.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["volume"], row["patient"], row["label"], row["outcome"]) for row in rows] == [
        ("a.nii.gz", "p1", "organ", "both"),
        ("a.nii.gz", "p1", "lesion", "both empty"),
        ("b.nii.gz", "p2", "organ", "both"),
        ("b.nii.gz", "p2", "lesion", "spurious"),
    ]
    assert [row.pop("flags") for row in rows] == ["", "", "spacing z; intensity", "spacing z; intensity"]
    organ, empty, _, spurious = ({name: row[name] for name in list(row)[4:]} for row in rows)
    assert {name: float(value) for name, value in organ.items()} == pytest.approx(
        {
            "truth_ml": 72,
            "prediction_ml": 108,
            "dice": 0.8,
            "nsd": 112 / 164,
            "hd95_mm": 10,
            "volume_error_ml": 36,
            "volume_error_percent": 50,
            "sensitivity": 1,
            "precision": 2 / 3,
        },
        rel=1e-5,
    )
    assert [name for name, value in empty.items() if not value] == [
        "hd95_mm",
        "volume_error_percent",
        "sensitivity",
        "precision",
    ]
    assert spurious["hd95_mm"] == f"{60 * 3**0.5:.6g}"


def test_write_cases__lists_of_different_lengths(tmp_path, cases):
    with pytest.raises(ValueError, match="zip"):
        write_cases(tmp_path / "cases.csv", ["a", "b"], ["p1"], cases, [(), ()])
    assert not list(tmp_path.iterdir())


def test_per_label__counts_and_intervals(cases):
    few = per_label(accumulate(cases, np.arange(2)), 0.95)
    assert [row["label"] for row in few] == ["organ", "lesion"]
    assert [few[1][name] for name in ("volumes", "n_truth", "n_empty", "n_missed", "n_spurious")] == [2, 0, 1, 0, 1]
    assert few[1]["dice"] == 0.5
    assert few[1]["sensitivity"] is None
    assert few[0]["dice_lo"] is None
    assert "2 patients, but an interval needs 5" in few[0]["reason"]
    (organ, _) = per_label(example([f"p{number}" for number in range(30)], 0), 0.95)
    assert organ["dice_lo"] < organ["dice"] < organ["dice_hi"]
    assert organ["hd95_lo"] < organ["hd95"] < organ["hd95_hi"]
    assert organ["reason"] is None

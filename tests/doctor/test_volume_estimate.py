"""Tests of the estimates for volumes, compared with manual calculations."""

import pytest

from medtune.config.load import load
from medtune.doctor.volume_estimate import disk_requirements, time_requirements
from medtune.doctor.volumes import VolumeSizes
from tests.doctor.test_volumes import TASK

SIZES = VolumeSizes(channels=2, classes=3, voxels=1000, shape=(8, 8, 8), patch=(8, 8, 8), windows=4)
MEASURED = {"forward": {"seconds": 1.0}, "head": {"seconds": 2.0}, "train": {"seconds": 3.0}}
SETS = [*TASK, "data.source=phantom", "schedule=staged", "data.split.folds=5", "frozen.epochs=2", "finetune.epochs=4",
        "frozen.lr=0.1", "finetune.lr=0.1", "frozen.min_steps=0", "finetune.min_steps=0"]  # fmt: skip


def test_disk__equals_a_manual_calculation() -> None:
    needs = disk_requirements(load(sets=SETS), 10, SIZES, {"parameters": 1000, "head": 100})
    assert needs["data/prepared"] == 10 * (512 * (2 * 2 + 1) + 1000)
    assert needs["cache"] == pytest.approx(3 * 5 * 10 * 1000 * 0.1)  # the model and two controls
    assert needs["handoff"] == pytest.approx(5 * 1100 * 6 + 20e6)


def test_time__equals_a_manual_calculation() -> None:
    result = time_requirements(load(sets=SETS), 10, 4, MEASURED, 0.5)
    assert result["data"] == 5
    assert result["stage 1"] == pytest.approx(5 * (2 * 6 * 2 + 2 * 2 * 4))
    assert result["stage 2"] == pytest.approx(5 * (4 * 6 * 3 + 4 * 2 * 4))
    assert result["test"] == pytest.approx(5 * 4 * 4)
    decoder, scratch = 5 * (6 * 6 * 2 + 6 * 2 * 4), 5 * (6 * 6 * 3 + 6 * 2 * 4)
    assert result["controls"] == pytest.approx(decoder + scratch + 2 * result["test"])
    assert "controls" not in time_requirements(load(sets=[*SETS, "task.controls=[]"]), 10, 4, MEASURED, 0.5)
    searched = time_requirements(load(sets=[*SETS, "frozen.lr=[0.1, 0.2]"]), 10, 4, MEASURED, 0.5)
    assert searched["stage 1"] == pytest.approx(2 * result["stage 1"])

"""Calibration metrics of test volumes, their intervals and the plot."""

from types import SimpleNamespace

import numpy as np
import pytest

from medtune.tasks.segmentation.calibration import Temperature
from medtune.tasks.segmentation.calibration_facts import calibration_facts, calibration_warnings, draw_reliability
from medtune.tasks.segmentation.calibration_sums import WIDTH, calibration_sums
from medtune.tasks.segmentation.voxel_samples import VoxelSample


def sums(seed: int, accuracy: float) -> np.ndarray:
    """Return the sums of voxels with a confidence of 0.9 and an accuracy."""
    truth = (np.random.default_rng(seed).random(1000) > accuracy).astype(np.uint8)
    return calibration_sums(VoxelSample(truth, np.tile(np.array([[0.9, 0.1]], np.float32), (1000, 1))), 2.0)


def predictions(accuracies, patients):
    values = np.array([sums(seed, accuracy) for seed, accuracy in enumerate(accuracies)])
    return SimpleNamespace(calibration=values, patient_ids=np.array(patients))


def fold():
    return SimpleNamespace(fold=0, rules=SimpleNamespace(temperature=Temperature(2.0, 0.5, 0.4, False, 7)))


def test_facts__scaling_reduces_the_error_of_a_confident_network(tmp_path):
    found = calibration_facts([fold()], predictions([0.75] * 12, [f"p{k}" for k in range(12)]), 0.95)
    test = found["test"]
    assert test["ece_before"]["value"] == pytest.approx(0.15, abs=0.02)
    assert test["ece_after"]["value"] == pytest.approx(0.0, abs=0.02)
    assert test["nll_after"]["value"] < test["nll_before"]["value"]
    for entry in test.values():
        assert entry["lo"] <= entry["value"] <= entry["hi"]
    assert found["folds"] == [{"fold": 0, "temperature": 2.0, "at_bound": False, "patients": 7}]
    (before,), (after,) = (found["reliability"][when] for when in ("before", "after"))
    assert before["confidence"] == pytest.approx(0.9)
    assert after["confidence"] == pytest.approx(0.75)
    assert before["accuracy"] == after["accuracy"]
    draw_reliability(tmp_path / "plot.png", found, "title")
    assert (tmp_path / "plot.png").stat().st_size > 5000


def test_facts__patients_count_once():
    found = calibration_facts([], predictions([0.9, 0.9, 0.9, 0.3], ["a", "a", "a", "b"]), 0.95)
    assert found["test"]["ece_before"]["value"] == pytest.approx(0.3, abs=0.03)
    assert found["test"]["ece_before"]["reason"].startswith("2 patients")


def test_warnings__name_the_folds_at_a_limit():
    inside = {"fold": 0, "at_bound": False}
    assert calibration_warnings(None) == calibration_warnings({"folds": [inside]}) == []
    (warning,) = calibration_warnings({"folds": [inside, {"fold": 2, "at_bound": True}, {"fold": 3, "at_bound": True}]})
    assert "of fold 2, fold 3 is at a limit of its range (0.25 to 4)" in warning


def test_facts__need_voxel_samples():
    nothing = SimpleNamespace(calibration=np.full((2, WIDTH), np.nan), patient_ids=np.array(["a", "b"]))
    assert calibration_facts([], nothing, 0.95) is None

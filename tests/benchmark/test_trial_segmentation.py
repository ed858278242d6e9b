"""Trials of the benchmark on volumes."""

import pytest

from medtune.benchmark import trial as trials
from medtune.benchmark.grid import TrialId
from medtune.runtime.cache_key import data_key
from medtune.runtime.paths import RunPaths
from tests.tasks.segmentation.prepared_volumes import segmentation_params, write


@pytest.mark.parametrize(
    ("backbone", "method", "changes"),
    [("test_vit", "lora", {"schedule": "staged"}), ("none", "none", {"schedule": "frozen"})],
)
def test_run__record_has_costs_and_dice(tmp_path, backbone, method, changes):
    params = segmentation_params(backbone, model={"peft": {"method": method}}, **changes)
    write(tmp_path, params, data_key(params))
    paths = RunPaths(tmp_path / "out", tmp_path / "cache", data=RunPaths(tmp_path, tmp_path).prepared)
    artifact = trials.run(params, paths, TrialId("drawn", backbone, method, 100, 1), 1)
    result = artifact.result()
    assert result["images"] == {"train": 3, "val": 3, "test": 3}
    assert (result["backbone_parameters"] == 0) == (backbone == "none")
    assert (result["trainable_fraction"] > 0) == (backbone != "none")
    assert 0 <= result["metrics"]["dice"]["value"] <= 1
    assert (artifact.folder / "predictions.csv").is_file()

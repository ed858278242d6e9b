"""Trials of the benchmark with volumes."""

import csv

from medtune.benchmark import trial as trials
from medtune.benchmark.grid import BenchmarkParams, TrialId
from medtune.benchmark.jobs import list_trials
from medtune.config.load import load, merge, read, read_base
from medtune.config.project import PROJECT
from medtune.runtime.cache_key import data_key
from medtune.runtime.paths import RunPaths
from tests.volume_world import write_prepared_volumes

SETS = ["data.size=16", "data.patients=9", "data.patch=null", "frozen.epochs=1", "frozen.min_steps=0",
        "model.head.width=4", "schedule=frozen", "model.backbone=none", "model.weights=none",
        "model.peft.method=none"]  # fmt: skip


def test_run__segments_the_test_volumes_with_few_training_volumes(tmp_path) -> None:
    params = load(PROJECT / "recipes" / "segmentation.yaml", [*SETS, "data.split.test_fold=1"])
    paths = RunPaths(tmp_path, tmp_path / "cache")
    write_prepared_volumes(paths.prepared, params, data_key(params))
    trial = TrialId("phantom", "none", "decoder", 40, 1)
    artifact = trials.run(params, paths, trial, 1)
    result = artifact.result()
    assert result["patients"] == {"train": 2, "val": 2, "test": 3}
    assert 0 <= result["metrics"]["dice"]["value"] <= 1
    assert result["trainable"] == 0  # beside the decoder
    with (artifact.folder / "predictions.csv").open() as stream:
        assert len({row["path"] for row in csv.DictReader(stream)}) == 3


def test_list_trials__networks_of_volumes_get_the_methods_that_support_them() -> None:
    tree = read_base(with_overlay=False)
    merge(tree, read(PROJECT / "recipes" / "segmentation.yaml"))
    del tree["model"]["head"]["width"]  # a network of volumes has its own decoder
    backbones = {"none": {"weights": "none"}, "unet": {"weights": "none"}, "test_vit": {"weights": "bundled"}}
    grid = BenchmarkParams.model_validate(
        {"data": {"phantom": {}}, "backbones": backbones, "methods": ["decoder", "full", "lora", "adapter"],
         "train_percent": [100], "head": "decoder", "metric": "dice"}
    )  # fmt: skip
    found = {(trial.backbone, trial.method) for trial in list_trials(grid, tree)}
    assert found == {
        *(("none", method) for method in ("decoder", "full")),
        *(("unet", method) for method in ("decoder", "full", "lora")),
        *(("test_vit", method) for method in ("decoder", "full", "lora", "adapter")),
    }

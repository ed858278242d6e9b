"""The unmodified recipes of segmentation: phantoms through slices with LoRA, and the hippocampus with the decoder."""

import json

import pytest

from medtune.config.load import load
from medtune.config.project import PROJECT
from medtune.flows import pipeline
from medtune.runtime.paths import RunPaths
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.stages import data
from medtune.stages.steps import Steps

# On two CPU cores, the first recipe takes minutes and the second about 10 CPU-minutes.
pytestmark = [pytest.mark.nightly, pytest.mark.slow, pytest.mark.timeout(5400), pytest.mark.xdist_group("recipes")]


def run(recipe, folder, *sets):
    """Run the complete pipeline of a recipe, and return metrics.json after a check of the bundle."""
    params = load(PROJECT / "recipes" / recipe, ["tracking.mode=disabled", *sets])
    paths = RunPaths(folder, folder / "cache")
    data.run(params, paths)
    pipeline.run_directly(Steps(params, paths))
    bundle = VolumeBundle.load(paths.stage("export"))
    assert bundle.self_test() < 1e-4
    return json.loads((paths.stage("evaluate") / "metrics.json").read_text(encoding="utf-8"))


def test_segmentation__finds_the_organs_and_names_the_decoder_alone(tmp_path):
    metrics = run("segmentation.yaml", tmp_path)
    assert metrics["test"]["dice"]["value"] >= 0.6
    assert min(row["n_truth"] for row in metrics["per_label"]) > 0
    (control,) = [entry for entry in metrics["controls"] if entry["name"] == "decoder_only"]
    assert control["test"]["dice"]["value"] >= 0.6
    difference = control["difference"]["dice"]
    assert difference["lo"] < difference["value"] < difference["hi"]


@pytest.mark.real
def test_hippocampus__quick_recipe_reaches_its_dice(shared, tmp_path):
    metrics = run("segmentation_hippocampus_quick.yaml", tmp_path, f"data.root={shared / 'hippocampus'}")
    dice = metrics["test"]["dice"]
    assert metrics["n_volumes"] == 56
    assert dice["value"] >= 0.84
    assert dice["lo"] <= dice["value"] <= dice["hi"]

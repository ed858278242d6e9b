"""The gate compares networks on patients that they have not seen."""

import json

import pytest

from medtune.stages import evaluate, export, gate


@pytest.mark.slow
def test_run__predicts_patients_with_networks_that_have_not_seen_them(make_world):
    """Check that the score of the gate equals the evaluation, which excludes patients that a network has seen."""
    world = make_world()
    metrics = json.loads((evaluate.run(world.params, world.paths).folder / "metrics.json").read_text())
    export.run(world.params, world.paths)
    decision = gate.run(world.params, world.paths, None)
    assert decision.challenger.score.value == pytest.approx(metrics["test"]["balanced_accuracy"]["value"])
    assert (decision.n_images, decision.n_patients) == (45, 9)

"""Trials of the benchmark: record, selection of the learning rate, and resume after an interruption."""

import csv

import numpy as np
import pytest

from medtune.benchmark import trial as trials
from medtune.benchmark.grid import TrialId
from medtune.config.load import validate
from medtune.data.manifest import load_prepared
from medtune.runtime.artifact import find_artifact
from medtune.stages import finetune

RATES = (1e-4, 1e-2)


@pytest.fixture
def world(make_world):
    return make_world(test_fold=1, trained=False)


def make_trial(world, method="lora", percent=50, schedule="full", rates=RATES, **changes):
    """Return the params and the identity of a trial on the small dataset."""
    tree = world.params.model_dump(mode="json")
    tree["schedule"] = schedule
    tree["model"]["peft"] = {"method": method}
    common = {"epochs": 2, "batch_size": 8, "checkpoint_seconds": 0, **changes}
    tree["frozen"], tree["finetune"] = {**common, "feature_views": 1}, dict(common)
    tree["frozen" if schedule == "frozen" else "finetune"]["lr"] = list(rates)
    return validate(tree), TrialId("drawn", "test_vit", method, percent, 1)


def run(world, params, trial):
    return trials.run(params, world.paths, trial, 1)


def test_run__record_has_costs_and_metrics(world):
    params, trial = make_trial(world)
    artifact = run(world, params, trial)
    result = artifact.result()
    assert result["trial"] == {"data": "drawn", "backbone": "test_vit", "method": "lora", "percent": 50, "seed": 1}
    assert (result["trainable"], result["head"]) == (4_096, 130)  # r 8 on two fused qkv of width 64; 2 x 64 + 2
    assert result["trainable_fraction"] == pytest.approx(4_096 / result["backbone_parameters"])
    assert result["patients"] == {"train": 2, "val": 2, "test": 3}  # half of three patients, rounded up
    assert result["images"] == {"train": 10, "val": 10, "test": 15}
    assert result["images_per_s"] > 0
    entry = result["metrics"]["accuracy"]
    assert entry["reason"] == "3 patients, but an interval needs 5"
    with (artifact.folder / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 15
    hits = np.mean([row["label"] == row["prediction"] for row in rows])
    assert entry["value"] == pytest.approx(hits)
    assert not (world.paths.cache / "benchmark" / "work" / artifact.key).exists()


def test_run__learning_rate_is_selected_on_validation(world):
    params, trial = make_trial(world, monitor="loss")
    result = run(world, params, trial).result()
    losses = {trial["lr"]: trial["validation"]["loss"] for trial in result["trials"]}
    assert set(losses) == set(RATES)
    assert result["lr"] == [min(losses, key=lambda rate: losses[rate])]
    assert result["validation"]["loss"] == min(losses.values())


def test_run__diverged_learning_rate_is_excluded(world):
    unstable = {"ema_decay": None, "clip_norm": None}
    result = run(world, *make_trial(world, rates=(1e-3, 1e38), **unstable)).result()
    assert (result["lr"], [trial["lr"] for trial in result["trials"]]) == ([1e-3], [1e-3])
    with pytest.raises(RuntimeError, match="the loss is"):
        run(world, *make_trial(world, rates=(1e38,), **unstable))


def test_run__finished_trial_is_reused_and_interrupted_trial_resumes(world, monkeypatch):
    params, trial = make_trial(world, schedule="staged", rates=RATES[:1])
    train, calls = finetune.run, []

    def interrupt_first_call(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(finetune, "run", interrupt_first_call)
    with pytest.raises(KeyboardInterrupt):
        run(world, params, trial)
    assert find_artifact(trials.record_dir(world.paths, trial)) is None
    work = next((world.paths.cache / "benchmark" / "work").glob("*/artifacts"))
    frozen = find_artifact(work / "frozen" / "fold-1")
    assert frozen is not None  # stage 1 is not trained again
    artifact = run(world, params, trial)
    before = (artifact.folder / "result.json").stat().st_mtime_ns
    assert run(world, params, trial) == artifact
    assert (artifact.folder / "result.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(("schedule", "trainable"), [("frozen", 0), ("staged", 4_096)])
def test_run__frozen_and_staged_schedules(world, schedule, trainable):
    params, trial = make_trial(world, schedule=schedule, method="none" if schedule == "frozen" else "lora")
    result = run(world, params, trial).result()
    assert result["trainable"] == trainable
    assert result["seconds"] >= 0


def test_trial_key__depends_only_on_relevant_inputs(world):
    prepared = load_prepared(world.paths.prepared)

    def key(threads=1, **changes):
        params, trial = make_trial(world, **changes)
        return trials.trial_key(params, prepared, trial, threads)

    params, trial = make_trial(world)
    other = params.model_copy(update={"frozen": params.frozen.model_copy(update={"epochs": 9})})
    assert trials.trial_key(other, prepared, trial, 1) == key()  # schedule full has no stage 1
    others = [key(percent=25), key(rates=(1e-4,)), key(threads=2), key(method="bitfit"), key(epochs=3)]
    assert len({key(), *others}) == 6

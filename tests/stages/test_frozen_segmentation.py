"""Both training stages on volumes: networks, stored features, and exact resume."""

import csv
import re
import shutil

import pytest
import torch

from medtune.config.errors import InputError
from medtune.data.manifest import load_prepared
from medtune.runtime.cache_key import data_key
from medtune.runtime.paths import RunPaths
from medtune.stages import finetune, frozen
from medtune.tasks.segmentation.patch_source import PatchSource
from medtune.tasks.segmentation.window_source import StoredWindowSource
from medtune.training import checkpoint
from tests.tasks.segmentation.prepared_volumes import segmentation_params, write

SLICES = {"backbone": "test_vit", "finetune": {"lr": 1e-3}}
UNET = {
    "backbone": "unet",
    "model": {"backbone_args": {"channels": [4, 8], "strides": [2], "num_res_units": 1}, "peft": {"method": "lora"}},
}


class Interrupted(Exception):
    """Simulated interruption of the process."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder with prepared volumes."""
    folder = tmp_path_factory.mktemp("segmentation")
    params = segmentation_params(**SLICES)
    write(folder, params, data_key(params))
    return folder


@pytest.fixture
def paths(data, tmp_path):
    return RunPaths(tmp_path, tmp_path / "cache", data=RunPaths(data, data).prepared)


def run_both(params, paths, fold=0):
    return frozen.run(params, paths, fold), finetune.run(params, paths, fold)


def history(artifact):
    return list(csv.DictReader((artifact.folder / "history.csv").open()))


def check_artifact(artifact, paths):
    """Check the result, and that the saved network loads and maps a patch."""
    result, rows = artifact.result(), history(artifact)
    assert {"train/loss", "val/loss", "val/dice"} <= set(rows[0])
    assert result["best"]["monitor"] == "dice"
    assert result["images"] == {"train": 3, "val": 3}
    layout = result["layout"]
    assert layout == {"classes": 4, "channels": 1, "patch": [16, 16, 16]}
    assert layout["classes"] == len(load_prepared(paths.prepared).classes) + 1
    model = checkpoint.load_trained(artifact)
    assert not model.training
    logits = model(torch.zeros(1, 1, 16, 16, 16))
    assert logits.shape == (1, 4, 16, 16, 16)
    assert logits.isfinite().all()


@pytest.mark.parametrize("network", [SLICES, UNET], ids=["slices", "unet"])
def test_stages__train_and_load_strictly(paths, network, capsys):
    params = segmentation_params(**network)
    first, second = run_both(params, paths)
    for artifact in (first, second):
        check_artifact(artifact, paths)
    assert first.result()["stored_features"] is (network is SLICES)
    line = "frozen: the features of unet are as large as its volumes and are not stored; the encoder runs in every"
    assert (line in capsys.readouterr().out) is (network is UNET)
    # Epoch 0 of stage 2 is the network of stage 1, up to the rounding of stored features.
    start, best = history(second)[0], first.result()["best"]["validation"]
    assert start["epoch"] == "0"
    assert float(start["val/dice"]) == pytest.approx(best["dice"], abs=5e-3)
    assert float(start["val/loss"]) == pytest.approx(best["loss"], abs=5e-3)


@pytest.mark.parametrize("schedule", ["frozen", "full"])
def test_stages__decoder_without_a_backbone(paths, schedule):
    params = segmentation_params("none", schedule=schedule)
    artifact = (frozen if schedule == "frozen" else finetune).run(params, paths, 0)
    check_artifact(artifact, paths)
    assert artifact.result()["stored_features"] is False


def test_training__lowers_the_loss_on_volumes(paths):
    params = segmentation_params("none", schedule="full", finetune={"epochs": 4, "min_steps": 24, "ema_decay": None})
    rows = history(finetune.run(params, paths, 0))
    assert float(rows[-1]["val/loss"]) < float(rows[0]["val/loss"])
    assert float(rows[-1]["train/loss"]) < 0.8 * float(rows[0]["train/loss"])
    assert int(rows[-1]["step"]) >= 24  # epochs repeat the volumes


def test_frozen__features_are_computed_once(paths, capsys):
    params, computed = segmentation_params(**SLICES, schedule="frozen"), {}
    for fold in (0, 1, 0):
        frozen.run(params, paths, fold)
        computed[fold] = re.findall(r"features of (\w+), view (\d) of \d: (\d+) windows", capsys.readouterr().out)
        if fold == 0:
            shutil.rmtree(paths.stage("frozen", 0))
        if fold == 0 and len(computed) == 1:
            assert [(split, view) for split, view, _ in computed[0]] == [
                ("training", "1"), ("training", "2"), ("training", "3"), ("validation", "1"),
            ]  # fmt: skip
            assert [count for split, _, count in computed[0] if split == "training"] == ["3"] * 3
    assert computed[1]
    assert not computed[0]  # the second run of fold 0
    other_seed = params.model_copy(update={"seed": 5, "frozen": params.frozen.model_copy(update={"lr": 1e-3})})
    frozen.run(other_seed, paths, 0)
    assert "features of validation" in capsys.readouterr().out


@pytest.mark.parametrize("changes", [{"feature_views": "online"}, {"feature_cache_gb": 1e-6}])
def test_frozen__backbone_runs_online(paths, capsys, changes):
    params = segmentation_params(**SLICES, frozen=changes, schedule="frozen")
    artifact = frozen.run(params, paths, 0)
    check_artifact(artifact, paths)
    assert artifact.result()["stored_features"] is False
    expected = "frozen: features of 3 windows per volume need"
    assert (expected in capsys.readouterr().out) is ("feature_cache_gb" in changes)
    assert not (paths.cache / "features").exists()


@pytest.mark.parametrize(
    ("stage", "at"),
    [
        pytest.param("frozen", 1, marks=pytest.mark.slow),
        ("frozen", 3),
        ("finetune", 1),
        pytest.param("finetune", 3, marks=pytest.mark.slow),
    ],
)
def test_stages__resume_bit_identical(paths, data, tmp_path, monkeypatch, stage, at):
    """Every step writes a checkpoint. A step is interrupted in its first and in its second epoch."""
    params = segmentation_params(**SLICES, task={"foreground_share": 0.5, "augment": {"mirror": ["x"]}})
    expected = run_both(params, paths)
    other = RunPaths(tmp_path / "other", paths.cache, data=paths.prepared)
    source = StoredWindowSource if stage == "frozen" else PatchSource
    load, calls = source.train, iter(range(1000))

    def interrupted(*args):
        if next(calls) == at:
            raise Interrupted
        return load(*args)

    with monkeypatch.context() as patch:
        patch.setattr(source, "train", interrupted)
        with pytest.raises(Interrupted):
            run_both(params, other)
    assert [artifact.sha256 for artifact in run_both(params, other)] == [artifact.sha256 for artifact in expected]


def test_finetune__peft_method_that_reads_batches(paths):
    changes = {**SLICES, "model": {"peft": {"method": "fishmask"}}, "schedule": "full"}
    artifact = finetune.run(segmentation_params(**changes), paths, 0)
    check_artifact(artifact, paths)


def test_finetune__gradient_checkpointing_does_not_change_results(paths, tmp_path):
    losses = []
    for checkpointing in (False, True):
        changes = {"gradient_checkpointing": checkpointing, "lr": 1e-3, "epochs": 1}
        params = segmentation_params("test_vit", schedule="full", finetune=changes)
        out = RunPaths(tmp_path / str(checkpointing), paths.cache, data=paths.prepared)
        losses.append(float(history(finetune.run(params, out, 0))[-1]["val/loss"]))
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_frozen__search_of_the_learning_rate(paths):
    params = segmentation_params(**SLICES, schedule="frozen", frozen={"lr": [1e-3, 1e-2], "epochs": 1})
    result = frozen.run(params, paths, 0).result()
    assert [trial["lr"] for trial in result["trials"]] == [1e-3, 1e-2]
    best = max(result["trials"], key=lambda trial: trial["validation"]["dice"])
    assert result["best"]["validation"]["dice"] == best["validation"]["dice"]


def test_stages__network_of_images_is_refused():
    with pytest.raises(InputError, match=r"model\.head\.kind"):
        segmentation_params("test_vit", model={"head": {"kind": "linear"}})

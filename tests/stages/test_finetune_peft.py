"""Tests of stage 2 with PEFT methods: training, storing, merging and loading."""

import shutil

import pytest
import torch

from medtune.config.load import validate
from medtune.data.manifest import load_prepared
from medtune.models.peft import fishmask
from medtune.runtime.paths import RunPaths
from medtune.stages import finetune, frozen
from medtune.training import checkpoint
from medtune.training.loop import Trainer


@pytest.fixture
def world(make_world):
    return make_world(test_fold=1, trained=False)


# With these options, all parts of a method run within a few steps.
OPTIONS = {"adalora": {"interval": 1, "rank": 2, "start": 4}}


def params_of(world, method, backbone="test_vit", **finetune):
    tree = world.params.model_dump(mode="json")
    tree["schedule"] = "staged"
    args = {"img_size": 32} if backbone == "test_vit" else {}
    head = {"kind": "cdtm", "centers": 4}
    tree["model"] |= {
        "head": head,
        "peft": {"method": method, **OPTIONS.get(method, {})},
        "backbone": backbone,
        "backbone_args": args,
    }
    common = {"epochs": 2, "batch_size": 8, "checkpoint_seconds": 0}
    tree["frozen"] = {**common, "lr": 1e-3, "feature_views": 1}
    tree["finetune"] = {**common, "lr": 1e-2, "monitor": "loss", **finetune}
    return validate(tree)


def run_both(params, paths):
    return frozen.run(params, paths), finetune.run(params, paths)


@pytest.mark.parametrize(
    ("method", "holds"), [("lora", "all"), ("ssf", "all"), ("adapter", "adapted"), ("vpt", "adapted")]
)
def test_finetune__stores_a_merged_or_an_adapted_network(world, method, holds):
    params = params_of(world, method)
    first, second = run_both(params, world.paths)
    stored = checkpoint.read(second.folder / "model.safetensors")
    assert stored is not None
    result = second.result()
    assert stored[1]["holds"] == (holds if result["kept"] == "finetune" else "all")
    model = checkpoint.load_trained(second)
    plain = checkpoint.load_trained(first)
    if stored[1]["holds"] == "all":
        assert set(model.state_dict()) == set(plain.state_dict())
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.isfinite(model(model.preprocess(images))).all()
    assert result["trainable"] < sum(p.numel() for p in plain.parameters())


@pytest.mark.parametrize("method", ["vpt", "lora"])
def test_finetune__falls_back_to_stage_one_bit_for_bit(world, method):
    params = params_of(world, method, lr=0.1, label_smoothing=1.0, ema_decay=None)
    first, second = run_both(params, world.paths)
    assert second.result()["kept"] == "frozen"
    frozen_weights = checkpoint.load_trained(first).state_dict()
    finetuned_weights = checkpoint.load_trained(second).state_dict()
    assert all(torch.equal(frozen_weights[name], finetuned_weights[name]) for name in frozen_weights)


# Resuming methods without hooks is tested in tests/robustness/test_resume.py.
INTERRUPTED_METHODS = [("adalora", "test_vit"), ("fishmask", "test_efficientnet")]


@pytest.mark.parametrize(
    ("method", "backbone"), [*INTERRUPTED_METHODS, pytest.param("adapter", "test_vit", marks=pytest.mark.slow)]
)
def test_finetune__interrupted_and_resumed_is_bit_identical(world, tmp_path, monkeypatch, method, backbone):
    params = params_of(world, method, backbone)
    uninterrupted = run_both(params, world.paths)
    interrupted = RunPaths(tmp_path / "interrupted", world.paths.cache)
    shutil.copytree(world.paths.prepared, interrupted.prepared)
    finish_epoch, calls = Trainer._finish_epoch, iter(range(100))

    def interrupt(self, *args, **kwargs):
        row = finish_epoch(self, *args, **kwargs)
        if next(calls) == 2:  # after the first epoch of finetune
            raise KeyboardInterrupt
        return row

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_finish_epoch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_both(params, interrupted)
    assert interrupted.stage("frozen", 1).exists()
    assert not interrupted.stage("finetune", 1).exists()
    assert [artifact.sha256 for artifact in run_both(params, interrupted)] == [
        artifact.sha256 for artifact in uninterrupted
    ]


def test_finetune__prepare_gets_unaugmented_training_images(world, monkeypatch):
    params, batches_of_calls, positions = params_of(world, "fishmask"), [], []
    prepare = fishmask.prepare

    def spy(model, batches, options):
        batches_of_calls.append(list(batches))
        prepare(model, batches_of_calls[-1], options)
        positions.append(model.backbone.sparse_delta.positions.tolist())

    monkeypatch.setattr(fishmask, "prepare", spy)
    first, second = run_both(params, world.paths)
    shutil.rmtree(second.folder)
    prepared = load_prepared(world.paths.prepared)
    finetune.run(params, world.paths)
    assert positions[0] == positions[1] != list(range(len(positions[0])))
    rows = prepared.indices(1)["train"]
    images = checkpoint.load_trained(first).preprocess(torch.from_numpy(prepared.images[rows]))
    seen_images = torch.cat([batch for batch, _ in batches_of_calls[0]])
    labels = torch.cat([label for _, label in batches_of_calls[0]])
    order = [int((seen_images - image).flatten(1).abs().sum(1).argmin()) for image in images]
    assert sorted(order) == list(range(len(rows)))
    assert order != sorted(order)
    torch.testing.assert_close(seen_images[order], images)
    assert labels[order].tolist() == prepared.labels[rows].tolist()

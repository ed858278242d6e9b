"""Tests of stages 1 and 2 on a small data set: outputs and frozen parameters."""

import csv
import re

import pytest
import torch

from medtune.config import registry
from medtune.config.errors import InputError
from medtune.config.load import validate
from medtune.data.manifest import load_prepared
from medtune.runtime.paths import RunPaths
from medtune.serving.members import REFIT
from medtune.stages import finetune, frozen
from medtune.stages.step_keys import finetune_key, frozen_key
from medtune.training import checkpoint
from medtune.training.refit import RefitSettings, refit_settings

# The head that pools the tiles of slides is trained in tests/pipeline/test_slides_attention.py, and the decoder of
# volumes in test_frozen_segmentation.py.
HEADS = [name for name in registry.plugin_names("medtune.models.heads") if name not in ("attention_mil", "decoder")]


@pytest.fixture
def world(make_world):
    """Prepare 45 images at 32 pixels and return params and paths."""
    return make_world(test_fold=1, trained=False)


def params_of(world, **changes):
    tree = world.params.model_dump(mode="json")
    tree["schedule"] = "staged"
    tree["model"]["head"] = {"kind": "cdtm", "centers": 4}
    common = {"epochs": 2, "batch_size": 8, "lr": 1e-3, "checkpoint_seconds": 0}
    tree["frozen"], tree["finetune"] = {**common, "feature_views": 2}, dict(common)
    for path, value in changes.items():
        section, _, key = path.partition("__")
        tree[section][key] = value
    return validate(tree)


def run_both(params, paths):
    return frozen.run(params, paths), finetune.run(params, paths)


@pytest.mark.parametrize("kind", HEADS)
def test_stages__every_head_trains_and_loads_strictly(world, kind):
    params = params_of(world, model__head={"kind": kind})
    first, second = run_both(params, world.paths)
    assert first.result()["kept"] == "frozen"
    assert second.result()["kept"] in ("frozen", "finetune")
    for artifact in (first, second):
        model = checkpoint.load_trained(artifact)
        assert torch.isfinite(model(torch.zeros(1, 3, 32, 32))).all()
        assert not model.training
        history = list(csv.DictReader((artifact.folder / "history.csv").open()))
        assert {"epoch", "step", "lr", "train/loss", "val/loss", "val/auroc", "val/balanced_accuracy"} <= set(
            history[0]
        )
    assert second.result()["trainable"] > first.result()["trainable"]


def test_frozen__cached_features_and_online_agree(world):
    no_augmentation = {"dihedral": False, "shift": 0, "scale": 0, "brightness": 0, "contrast": 0, "stain": 0}
    scores = {}
    for views in (1, "online"):
        params = params_of(world, frozen__feature_views=views, frozen__augment=no_augmentation)
        artifact = frozen.run(params, world.paths, 1)
        assert artifact.result()["stored_features"] is (views == 1)
        scores[views] = artifact.result()["best"]["validation"]["loss"]
    assert scores[1] == pytest.approx(scores["online"], abs=5e-3)


def test_frozen__runs_online_above_the_cache_limit(world, capsys):
    params = params_of(world, frozen__feature_cache_gb=0)
    artifact = frozen.run(params, world.paths, 1)
    assert artifact.result()["stored_features"] is False
    assert "frozen.feature_cache_gb is 0; the backbone runs in every epoch" in capsys.readouterr().out


def test_frozen__folds_share_features_without_affecting_each_other(world, tmp_path, capsys):
    params = params_of(world)
    separate, computed = {}, {}
    for fold in (1, 0, 2):
        paths = RunPaths(tmp_path / f"separate-{fold}", tmp_path / f"cache-{fold}", data=world.paths.prepared)
        separate[fold] = frozen.run(params, paths, fold)
    capsys.readouterr()
    for fold in (1, 0, 2):
        shared = frozen.run(params, world.paths, fold)
        computed[fold] = re.findall(r"view (\d) of 2: (\d+) images", capsys.readouterr().out)
        assert shared.sha256 == separate[fold].sha256
    # Training and validation have 15 of 45 images; the last fold trains on the validation images of the first fold.
    assert computed == {1: [("1", "30"), ("2", "15")], 0: [("1", "15"), ("2", "15")], 2: [("2", "15")]}


def test_finetune__selects_stage_one_if_it_is_better(world):
    params = params_of(world, finetune__lr=5.0, finetune__clip_norm=None, finetune__monitor="loss")
    first, second = run_both(params, world.paths)
    assert second.result()["kept"] == "frozen"
    assert second.result()["best"]["epoch"] == 0
    frozen_weights = checkpoint.load_trained(first).state_dict()
    finetuned_weights = checkpoint.load_trained(second).state_dict()
    assert all(torch.equal(frozen_weights[name], finetuned_weights[name]) for name in frozen_weights)


def test_refit__trains_on_all_images_with_the_settings_of_the_folds(world):
    params = params_of(world, frozen__lr=[1e-3, 1e-2]).model_copy(update={"final": "refit"})
    with pytest.raises(InputError, match="artifacts/frozen/fold-0: no finished result"):
        frozen.run(params, world.paths, REFIT)
    results = [(frozen.run(params, world.paths, k), finetune.run(params, world.paths, k)) for k in range(3)]
    first, second = frozen.run(params, world.paths, REFIT), finetune.run(params, world.paths, REFIT)
    for stage, artifact in enumerate((first, second)):
        result = artifact.result()
        settings = refit_settings([fold[stage].result() for fold in results])
        assert result["refit"] == settings.as_dict()
        assert (result["lr"], result["best"]["epoch"]) == (settings.lr, settings.epochs)
        assert result["images"] == {"train": 45, "val": 0}
        assert result["best"]["validation"] == {}
        assert artifact.folder.name == "refit"
    assert second.result()["kept"] == ("finetune" if second.result()["best"]["epoch"] else "frozen")
    key = frozen_key(params, load_prepared(world.paths.prepared), REFIT, RefitSettings(lr=1e-3, epochs=1))
    assert key != frozen_key(params, load_prepared(world.paths.prepared), REFIT, RefitSettings(lr=1e-3, epochs=2))
    assert frozen_key(params, load_prepared(world.paths.prepared), 0) == results[0][0].key


def test_finetune__error_about_missing_stage_one_names_the_command(world):
    with pytest.raises(InputError, match=r"artifacts/frozen/fold-1: no finished .* Run `medtune stage frozen` with"):
        finetune.run(params_of(world), world.paths)


def test_run__several_folds_require_a_fold(make_world):
    world = make_world(test_fold="all")
    with pytest.raises(InputError, match=r"data.split.test_fold=all: frozen trains one fold. Name it, 0 to 2"):
        frozen.run(world.params, world.paths)


def test_finetune__schedule_full_starts_from_the_pretrained_weights(world):
    params = params_of(world).model_copy(update={"schedule": "full"})
    artifact = finetune.run(params, world.paths)
    assert artifact.result()["kept"] == "finetune"
    assert artifact.result()["best"]["epoch"] >= 1


@pytest.mark.parametrize("method", ["none", "lora"])
@pytest.mark.parametrize("backbone", ["test_vit", "test_efficientnet"])
def test_finetune__gradient_checkpointing_does_not_change_results(world, backbone, method):
    args = {"img_size": 32} if backbone == "test_vit" else {}
    curves = []
    for enabled in (False, True):
        model = {"model__backbone": backbone, "model__backbone_args": args, "model__peft": {"method": method}}
        _, second = run_both(params_of(world, **model, finetune__gradient_checkpointing=enabled), world.paths)
        curves.append((second.folder / "history.csv").read_text())
    assert curves[0] == curves[1]


@pytest.mark.parametrize("method", ["none", "lora"])
def test_finetune__channels_last_gives_similar_results(world, method):
    curves = []
    for enabled in (False, True):
        model = {"model__backbone": "test_efficientnet", "model__backbone_args": {}, "model__peft": {"method": method}}
        params = params_of(world, **model, finetune__channels_last=enabled, finetune__epochs=1, frozen__epochs=1)
        _, second = run_both(params, world.paths)
        curves.append([float(row["train/loss"] or 0) for row in csv.DictReader((second.folder / "history.csv").open())])
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_check__rejects_unsupported_gradient_checkpointing(world):
    from medtune.models.backbones import check_backbone

    unsupported = {"model__backbone": "dla34", "model__backbone_args": {}, "finetune__gradient_checkpointing": True}
    with pytest.raises(InputError, match=r"finetune.gradient_checkpointing=true: dla34 does not support it"):
        check_backbone(params_of(world, **unsupported))
    params = params_of(world, **unsupported | {"model__backbone": "test_efficientnet", "model__batchnorm": "train"})
    with pytest.raises(InputError, match="would update the BatchNorm statistics twice"):
        check_backbone(params)


def test_key__solved_head_depends_only_on_settings_of_the_solver(world):
    prepared, head = load_prepared(world.paths.prepared), {"kind": "logistic"}
    key = frozen_key(params_of(world, model__head=head), prepared, 1)
    unused = {"epochs": 7, "lr": 0.5, "batch_size": 3, "ema_decay": None, "optimizer": "adam", "precision": "fp32",
              "augment": {"shift": 0.5}, "patience": 2}  # fmt: skip
    for name, value in unused.items():
        assert frozen_key(params_of(world, model__head=head, **{f"frozen__{name}": value}), prepared, 1) == key
    for name, value in {"class_weights": "none", "feature_views": 1, "monitor": "loss", "label_smoothing": 0.1}.items():
        assert frozen_key(params_of(world, model__head=head, **{f"frozen__{name}": value}), prepared, 1) != key
    assert frozen_key(params_of(world, model__head={**head, "C": 1.0}), prepared, 1) != key


def test_key__changes_only_with_relevant_params(world):
    prepared = load_prepared(world.paths.prepared)
    base = params_of(world)
    key = frozen_key(base, prepared, 1)
    assert frozen_key(params_of(world, evaluate__reliability_bins=9, tracking__project="x"), prepared, 1) == key
    assert frozen_key(params_of(world, finetune__lr=0.5), prepared, 1) == key
    assert frozen_key(params_of(world, model__peft={"method": "lora"}), prepared, 1) == key
    changed = [
        frozen_key(params_of(world, frozen__lr=0.5), prepared, 1),
        frozen_key(params_of(world, model__head={"kind": "linear"}), prepared, 1),
        frozen_key(base.model_copy(update={"seed": 2}), prepared, 1),
        frozen_key(base, prepared, 2),
        finetune_key(base, prepared, 1, None),
        finetune_key(params_of(world, model__peft={"method": "lora"}), prepared, 1, None),
    ]
    assert len({key, *changed}) == 7

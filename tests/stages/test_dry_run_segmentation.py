"""Check before training for networks of volumes: trial steps and trial export."""

from types import SimpleNamespace

import pytest

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.runtime.paths import RunPaths
from medtune.stages.dry_run import check_network

BASE = ("task.kind=segmentation", "data.source=phantom", "model.head.kind=decoder", "frozen.monitor=dice",
        "finetune.monitor=dice", "gate.metric=dice", "model.backbone_args={}", "model.weights=none")  # fmt: skip
FISHMASK = "model.peft.method=fishmask"
SMALL_UNET = ("model.backbone=unet", "model.backbone_args={channels: [4, 8], strides: [2], num_res_units: 1}")


@pytest.fixture
def check(tmp_path):
    """Return a function that checks params with a separate cache per test."""

    def run(*sets, prepared=None):
        check_network(load(sets=[*BASE, *sets]), RunPaths(tmp_path, tmp_path / "cache"), prepared)

    return run


def prepared(patch, channels=1):
    """Return the part of the prepared data that the check reads."""
    return SimpleNamespace(info={"volumes": {"channels": ["a"] * channels, "patch": patch}})


def test_check__runs_once_per_configuration_and_verifies_the_patch(check, capsys):
    sets = (*SMALL_UNET, "schedule=staged", "model.peft.method=lora")
    check(*sets)
    assert "checking that unet can be trained and exported" in capsys.readouterr().out
    check(*sets, "task.overlap=0.5", prepared=prepared([16, 16, 16]))
    assert capsys.readouterr().out == ""
    with pytest.raises(InputError, match=r"data\.patch=\[15, 16, 16\]: unet needs multiples of \[2, 2, 2\] voxels"):
        check(*sets, prepared=prepared([15, 16, 16]))


def test_check__verifies_the_patch_of_the_controls(check):
    sets = ("task.controls=[decoder_only]", *SMALL_UNET, "schedule=full", "model.peft.method=none")
    with pytest.raises(InputError, match=r"data\.patch=\[8, 16, 16\]: slices need sides of at least 12 voxels"):
        check(*sets, prepared=prepared([8, 16, 16]))


@pytest.mark.parametrize(
    "sets",
    [
        ("model.backbone=none", "schedule=full"),
        ("model.backbone=test_vit", "schedule=staged", "model.peft.method=prefix", "model.backbone_args={depth: 2}"),
        pytest.param(("model.backbone=test_resnet", "schedule=full", FISHMASK), marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_check__trains_and_exports_every_kind_of_network(check, sets):
    check(*sets)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("model.backbone=brain_unet3d", "schedule=full", "model.peft.method=norm"), r"peft\.method: it matches no"),
        (("model.backbone=none", "schedule=full", "finetune.lr=1e30"), r"finetune\.lr=1e\+30: the loss is"),
        (("model.backbone=unt", "model.weights=hub"), r"model\.backbone=unt: neither a timm model nor"),
    ],
)  # fmt: skip
def test_check__rejects_networks_that_fail(check, sets, message):
    with pytest.raises(InputError, match=message) as error:
        check(*sets)
    assert "\n" not in str(error.value)

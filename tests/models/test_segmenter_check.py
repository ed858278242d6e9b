"""Checks of the networks of segmentation before training."""

import sys

import pytest
import torch
from safetensors.torch import save_file

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.models.brain_unet import BrainUNet
from medtune.models.segmenter import build
from medtune.models.segmenter_check import check_segmenter, trial_patch
from medtune.models.weights_check import check_weights

BASE = ("task.kind=segmentation", "data.source=phantom", "model.head.kind=decoder", "frozen.monitor=dice",
        "finetune.monitor=dice", "gate.metric=dice", "model.backbone_args={}", "schedule=staged")  # fmt: skip
PATCH = (32, 24, 16)


def params_for(backbone, *sets, weights="none"):
    schedule = ["schedule=frozen"] if backbone == "none" else []
    return load(sets=[*BASE, *schedule, f"model.backbone={backbone}", f"model.weights={weights}", *sets])


@pytest.mark.parametrize(
    ("backbone", "sets"),
    [
        ("none", []),
        ("unet", ["model.peft.method=lora"]),
        ("swinunetr", []),
        ("brain_unet3d", ["model.peft.method=ssf"]),
        ("test_vit", ["model.peft.method=vpt", "finetune.gradient_checkpointing=true"]),
        ("test_resnet", ["model.peft.method=conv_adapter", "model.head.slice_axis=x"]),
    ],
)
def test_check__accepts_networks_and_keeps_the_random_state(backbone, sets):
    params, before = params_for(backbone, *sets), torch.random.get_rng_state()
    check_segmenter(params)
    check_segmenter(params, 2, (64, 64, 64))
    assert torch.equal(torch.random.get_rng_state(), before)
    if backbone != "swinunetr":  # its smallest patch has 64 voxels per axis
        with torch.no_grad():
            patch = trial_patch(params)
            assert build(params, 1, 3, patch)(torch.randn(1, 1, *patch)).shape == (1, 3, *patch)


@pytest.mark.parametrize(
    ("backbone", "sets", "patch", "message"),
    [
        ("unt", [], None, r"model\.backbone=unt: neither a timm model nor a network of volumes \(did you mean 'unet'"),
        ("resnt18", [], None, r"model\.backbone=resnt18: neither .* mean 'resnet18'"),
        ("resnet18.a9", [], None, r"model\.backbone=resnet18\.a9: resnet18 has no tag 'a9'"),
        ("unet", ["model.peft.method=vpt"], None, r"method=vpt: it does not support unet \(family volume\)"),
        ("test_resnet", ["model.peft.method=vpt"], None, r"vpt: it does not support test_resnet \(family resnet\)"),
        ("unet", [], (32, 24, 12), r"data\.patch=\[32, 24, 12\]: unet needs multiples of \[8, 8, 8\] voxels"),
        ("none", [], (8, 24, 12), r"data\.patch=\[8, 24, 12\]: slices need sides of at least 12 voxels"),
        ("test_vit", ["model.backbone_args={img_size: 32}"], PATCH, r"data\.patch=\[32, 24, 16\]: .* of 64 pixels"),
        ("unet", ["model.backbone_args={depth: 3}"], None, r"backbone_args=.*depth.*: unet does not accept"),
        ("test_vit", ["model.backbone_args={deep: 3}"], None, r"backbone_args=.*deep.*: timm cannot create test_vit"),
    ],
)  # fmt: skip
def test_check__refuses_in_one_line(backbone, sets, patch, message):
    with pytest.raises(InputError, match=message) as error:
        check_segmenter(params_for(backbone, *sets), 1, patch)
    assert "\n" not in str(error.value)


def test_check__names_the_extra_if_monai_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai", None)
    with pytest.raises(InputError, match=r'model\.backbone=unet: it needs MONAI.* pip install "medtune\[segment\]"'):
        check_segmenter(params_for("unet"))


def test_check__compares_weights_of_a_network_of_volumes_only_if_the_channels_are_known(tmp_path):
    params = params_for("brain_unet3d", "data.intensity.rule=minmax", weights=tmp_path / "brain.safetensors")
    with pytest.raises(InputError, match="no such file"):
        check_segmenter(params)
    save_file(BrainUNet(2, 1).state_dict(), tmp_path / "brain.safetensors")
    check_segmenter(params)
    check_segmenter(params, channels=2)
    with pytest.raises(
        InputError, match=r"enc1\.conv1\.weight has the shape \[8, 2, 3, 3, 3\], expected \[8, 1, 3, 3, 3\]"
    ):
        check_segmenter(params, channels=1)


def test_check_weights__compares_a_file_with_the_timm_model(tmp_path):
    check_weights(params_for("test_vit", weights="bundled"))
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="it does not fit VisionTransformer"):
        check_weights(params_for("test_vit", weights=tmp_path / "a.safetensors"))

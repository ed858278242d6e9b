"""Normalization of weights files."""

import shutil

import pytest
import timm
from safetensors.torch import save_file

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.config.project import PACKAGE
from medtune.models.backbones import create_backbone
from medtune.models.normalization import check_normalization, normalization

BUNDLED = PACKAGE / "models" / "bundled" / "test_vit.safetensors"
IMAGENET = "--set 'model.normalization={mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}'"
HALF = "--set 'model.normalization={mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}'"


def params_for(backbone, weights, *sets):
    return load(sets=[f"model.backbone={backbone}", f"model.weights={weights}", *sets])


@pytest.mark.parametrize(
    "backbone", ["vit_large_patch16_224", "vit_tiny_patch16_224", "vit_small_patch16_224.augreg_in21k", "convnext_base"]
)
def test_check__requires_a_choice_if_the_normalization_is_ambiguous(backbone, tmp_path):
    with pytest.raises(InputError) as error:
        check_normalization(params_for(backbone, tmp_path / "mine.safetensors"))
    assert IMAGENET in str(error.value)
    assert backbone == "convnext_base" or HALF in str(error.value)


@pytest.mark.parametrize("backbone", ["deit_tiny_patch16_224", "resnet18", "convnext_base.fb_in22k", "densenet264d"])
def test_check__accepts_a_normalization_common_to_all_published_weights(backbone, tmp_path):
    check_normalization(params_for(backbone, tmp_path / "mine.safetensors"))
    check_normalization(params_for("vit_large_patch16_224", "none"))


def test_check__accepts_the_suggested_option(tmp_path):
    option = HALF.removeprefix("--set ").strip("'")
    check_normalization(params_for("vit_large_patch16_224", tmp_path / "mine.safetensors", option))


def test_normalization__copy_of_bundled_weights_is_recognized_by_checksum(tmp_path):
    copy = shutil.copy(BUNDLED, tmp_path / "copy.safetensors")
    params = params_for("test_vit", copy, "model.backbone_args={img_size: 128}")
    assert normalization(params, create_backbone(params)) == ([0.5] * 3, [0.25] * 3)
    model = timm.create_model("test_vit", num_classes=0, img_size=128)
    save_file(model.state_dict(), copy)
    with pytest.raises(InputError, match=r"model\.normalization=null"):
        create_backbone(params_for("test_vit", copy, "model.backbone_args={img_size: 128}"))


@pytest.mark.parametrize("mean", [123.7, -0.1])
def test_normalization__another_scale_is_rejected(mean):
    with pytest.raises(InputError, match=r"model\.normalization\.mean=.*expected values from 0 to 1"):
        load(sets=[f"model.normalization={{mean: [{mean}, 0.5, 0.5], std: [0.2, 0.2, 0.2]}}"])
    with pytest.raises(InputError, match=r"model\.normalization\.std=.*expected values from 0 to 1"):
        load(sets=["model.normalization={mean: [0.5, 0.5, 0.5], std: [58, 57, 57]}"])

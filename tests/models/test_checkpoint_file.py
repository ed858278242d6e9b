"""Weights files in the formats that training programs write."""

import argparse
import pickle

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.models import weights
from medtune.models.backbones import create_backbone
from medtune.models.checkpoint_file import read_state_dicts

NAME = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return timm.create_model(NAME, num_classes=5, img_size=64, depth=2)


def prefixed(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def zeros(state):
    return {key: value * 0 for key, value in state.items()}


def without_head(state):
    return {key: value for key, value in state.items() if not key.startswith("head.")}


MAE = {
    "mask_token": torch.zeros(1, 1, 192),
    "decoder_pos_embed": torch.zeros(1, 17, 64),
    "decoder_embed.weight": torch.zeros(64, 192),
}
# File name, content as a function of the state dict, and expected output.
FORMS = {
    "train.pth.tar": (
        lambda s: {"epoch": 1, "state_dict": s, "args": argparse.Namespace(lr=0.1), "version": 2},
        ["read from state_dict", "left out head. (2 keys)"],
    ),
    "train_ema.pth": (lambda s: {"state_dict": zeros(s), "state_dict_ema": s}, ["read from state_dict_ema"]),
    "lightning.ckpt": (
        lambda s: {"state_dict": prefixed("model.", s), "hyper_parameters": {"lr": 0.1}, "optimizer_states": [{}]},
        ["prefix model. removed"],
    ),
    "lightning_loss.ckpt": (
        lambda s: {"state_dict": {**prefixed("net.encoder.", s), "loss_fn.weight": torch.ones(5)}},
        ["prefix net.encoder. removed", "loss_fn."],
    ),
    "dino.pth": (
        lambda s: {
            "student": prefixed("module.backbone.", zeros(without_head(s))),
            "teacher": {**prefixed("backbone.", without_head(s)), "head.last_layer.weight": torch.zeros(3, 2)},
        },
        ["read from teacher", "prefix backbone. removed"],
    ),
    "dino_flat.pth": (
        lambda s: prefixed("student.", zeros(s)) | prefixed("teacher.", s),
        ["prefix teacher. removed", "student."],
    ),
    "mae.pth": (lambda s: {"model": {**without_head(s), **MAE}}, ["mask_token", "decoder_embed."]),
    "model_state_dict.pt": (lambda s: {"model_state_dict": s}, ["read from model_state_dict"]),
    "compiled.bin": (lambda s: prefixed("_orig_mod.", s), ["prefix _orig_mod. removed"]),
    "ddp_compiled.pth": (lambda s: prefixed("module._orig_mod.model.", s), ["prefix module._orig_mod.model. removed"]),
    "openclip.pth": (lambda s: {**prefixed("image_encoder.", s), "text.token.weight": torch.ones(9)}, ["text."]),
    "unknown_wrapper.pth": (lambda s: prefixed("feature_extractor.vit.", s), ["prefix feature_extractor.vit. removed"]),
    "module.pth": (lambda s: prefixed("module.", s), ["prefix module. removed"]),
    "ema.pth": (lambda s: {"model_ema": s, "model": zeros(s)}, ["read from model_ema"]),
    "module.safetensors": (lambda s: prefixed("module.", s), ["prefix module. removed"]),
    "plain.safetensors": (lambda s: without_head(s), []),
}


def write(path, content):
    save_file(content, path) if path.suffix == ".safetensors" else torch.save(content, path)
    return path


def create_from(path):
    sets = [f"model.backbone={NAME}", f"model.weights={path}", "data.image_size=64"]
    sets += ["model.backbone_args={img_size: 64, depth: 2}", "model.normalization={mean: [0, 0, 0], std: [1, 1, 1]}"]
    return create_backbone(load(sets=sets))


@pytest.mark.parametrize("name", FORMS)
def test_weights__are_read_from_common_formats(name, network, tmp_path, capsys):
    content, fragments = FORMS[name]
    weights.print_once.cache_clear()
    backbone = create_from(write(tmp_path / name, content(network.state_dict())))
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, network.state_dict()[key]), key
    out = capsys.readouterr().out
    assert all(fragment in out for fragment in fragments), out
    assert bool(out) == bool(fragments)


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        (lambda s: {k: v for k, v in s.items() if not k.startswith("blocks.1.")}, ["12 missing", "blocks.1."]),
        (lambda s: {**s, "blocks.2.norm1.weight": torch.ones(192)}, ["1 unexpected", "blocks.2.norm1.weight"]),
        (lambda s: {f"model.{k}": v for k, v in s.items() if "norm1" not in k}, ["prefix model.", "4 missing"]),
        (lambda s: prefixed("a.", s) | prefixed("b.", zeros(s)), ["two networks", "a.", "b."]),
        (lambda s: {**s, "cls_token": s["cls_token"] * float("nan")}, ["cls_token contains NaN"]),
        (lambda s: {"epoch": 3, "note": "no weights"}, ["contains no state dict"]),
    ],
)  # fmt: skip
def test_weights__incompatible_files_are_rejected(change, fragments, network, tmp_path):
    path = write(tmp_path / "other.pth", change(network.state_dict()))
    with pytest.raises(InputError) as error:
        create_from(path)
    assert all(fragment in str(error.value) for fragment in fragments), error.value


class Options:
    """Class that safe loaders reject."""


@pytest.mark.parametrize("extra", [Options(), np.float64(0.5)])
def test_read__error_names_an_unsafe_object_in_one_line(extra, tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "extra": extra}, tmp_path / "other.pth", pickle_module=pickle)
    with pytest.raises(InputError) as error:
        read_state_dicts(tmp_path / "other.pth")
    text = str(error.value)
    assert "cannot be read as plain tensors, because it contains an object of type" in text
    assert "weights_only" not in text
    assert "\x1b" not in text
    assert len(text.splitlines()) == 1


def test_read__resamples_the_position_embedding(network, tmp_path):
    path = write(tmp_path / "other_grid.pth", prefixed("model.", network.state_dict()))
    sets = [f"model.backbone={NAME}", f"model.weights={path}", "data.image_size=96"]
    sets += ["model.backbone_args={img_size: 96, depth: 2}", "model.normalization={mean: [0, 0, 0], std: [1, 1, 1]}"]
    assert create_backbone(load(sets=sets)).pos_embed.shape[1] == 37

"""Levels of timm families with tokens, windows and convolutions: shapes, gradients, ONNX parity, and refusals."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.export.graph_input import windows
from medtune.export.onnx_graph import to_onnx
from medtune.models.peft import none, ssf
from medtune.models.segmenter import build
from medtune.models.segmenter_check import check_segmenter

BASE = ("task.kind=segmentation", "data.source=phantom", "model.head.kind=decoder", "frozen.monitor=dice",
        "finetune.monitor=dice", "gate.metric=dice", "model.weights=none", "model.peft.method=none")  # fmt: skip
PATCH = (16, 16, 5)
SLICES = 3  # every second of five
# Small versions of the families, and channels and side of each level for images of 32 (patch size 14: 42) pixels.
PYRAMID = (8, 4, 2, 1)
BACKBONES = {
    "swin_tiny_patch4_window7_224": (
        "{img_size: 32, depths: [1, 1, 1, 1], embed_dim: 24, window_size: 4}", (24, 48, 96, 192), PYRAMID,
    ),
    "eva02_tiny_patch14_224": ("{depth: 4, embed_dim: 48, num_heads: 2}", (48,) * 4, (3,) * 4),
    "beit_base_patch16_224": ("{depth: 4, embed_dim: 48, num_heads: 2}", (48,) * 4, (2,) * 4),
    "hiera_tiny_224": (
        "{img_size: 32, embed_dim: 24, num_heads: 1, stages: [1, 1, 1, 1]}", (24, 48, 96, 192), PYRAMID,
    ),
    "test_convnext": ("{}", (24, 32, 48, 64), PYRAMID),
    "test_efficientnet": ("{}", (24, 32, 48, 64), PYRAMID),
    "test_resnet": ("{}", (32, 48, 192, 96), PYRAMID),
    "mobilenetv3_small_050": ("{}", (8, 16, 24, 288), PYRAMID),
}  # fmt: skip
# tests/export/test_volume_export_networks.py exports ConvNeXt, EfficientNet and ResNet.
EXPORTED = list(BACKBONES)[:4]


def params_for(name, args):
    return load(sets=[*BASE, f"model.backbone={name}", f"model.backbone_args={args}"])


def network_of(name):
    return build(params_for(name, BACKBONES[name][0]), 1, 3, PATCH)


def volumes(count=2):
    return torch.randn(count, 1, *PATCH, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("name", BACKBONES)
def test_levels__have_the_shapes_of_the_family_and_pass_gradients(name):
    args, channels, sides = BACKBONES[name]
    check_segmenter(params_for(name, args), 1, PATCH)
    network = network_of(name)
    levels = network.levels(volumes())
    expected = [(2, count, side, side, SLICES) for count, side in zip(channels, sides, strict=True)]
    assert [tuple(level.shape) for level in levels] == expected
    none.inject(network.backbone, none.Params())
    network.train()(volumes()).square().mean().backward()
    trained = {key: value for key, value in network.named_parameters() if value.requires_grad}
    assert any(key.startswith("backbone.") for key in trained)
    assert [key for key, value in trained.items() if value.grad is None] == []


@pytest.mark.parametrize("name", ["eva02_tiny_patch14_224", "beit_base_patch16_224"])
def test_ssf__scales_and_shifts_only_layers_with_an_effect(name):
    """The attention of these models ignores the bias of qkv, and `fc_norm` belongs to the classifier."""
    network = network_of(name)
    ssf.inject(network.backbone, ssf.Params())
    network(volumes()).square().mean().backward()
    trained = {key: value for key, value in network.backbone.named_parameters() if value.requires_grad}
    assert any("qkv.parametrizations.weight" in key for key in trained)
    assert [key for key, value in trained.items() if value.grad is None or not value.grad.any()] == []


class Levels(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return tuple(self.network.levels(images))


@pytest.mark.parametrize("name", EXPORTED)
def test_levels__onnx_graph_gives_equal_levels(name):
    network = network_of(name)
    names = [f"level{index}" for index in range(4)]
    graph = to_onnx(Levels(network).eval(), windows(1, PATCH), 20, {}, names)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    for count in (1, 3):
        with torch.no_grad():
            expected = network.levels(volumes(count))
        outputs = session.run(None, {session.get_inputs()[0].name: volumes(count).numpy()})
        for output, level in zip(outputs, expected, strict=True):
            assert np.abs(output - level.numpy()).max() < 1e-4


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "hiera_tiny_224"])
def test_check__size_of_the_images_is_refused_with_a_setting_that_works(name):
    with pytest.raises(InputError, match=r"images of 32 x 32 pixels .* Set model\.backbone_args=") as error:
        check_segmenter(params_for(name, "{}"), 1, PATCH)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    check_segmenter(params_for(name, "{img_size: [32, 32]}"), 1, PATCH)

"""Target layers of PEFT methods, which the forward pass must call."""

import copy

import pytest
import timm
import torch

from medtune.config import registry
from medtune.models.backbones import family
from medtune.models.blocks.target_layers import default_targets
from medtune.models.peft_support import KNOWN_FAMILIES, supports

# Backbone, arguments, side in pixels, and suffixes of the names of adapted layers.
NETWORKS = {
    "swin_tiny_patch4_window7_224": ({"img_size": 64, "window_size": 2, "depths": (2, 1, 1, 1)}, 64, {"qkv"}),
    "swinv2_tiny_window8_256": (
        {"img_size": 64, "window_size": 2, "depths": (2, 1, 1, 1)},
        64,
        {"proj", "fc1", "fc2", "reduction"},
    ),
    "hiera_tiny_224": ({"img_size": 64, "stages": (1, 1, 1, 1)}, 64, {"qkv"}),
    "cait_xxs24_224": ({"img_size": 32, "depth": 2}, 32, {"qkv", "q", "k", "v"}),
    "xcit_nano_12_p16_224": ({"depth": 2}, 32, {"qkv", "q", "k", "v"}),
    "beit_base_patch16_224": ({"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 2}, 32, None),
    "eva02_tiny_patch14_224": ({"img_size": 28, "depth": 2}, 28, {"proj", "fc1", "fc2", "fc1_g", "fc1_x"}),
    "samvit_base_patch16": ({"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 2}, 32, {"qkv"}),
    "test_vit": ({"img_size": 32}, 32, {"qkv"}),
    "test_convnext": ({}, 32, None),
}
METHODS = ("dora", "adalora", "ia3", "bitfit", "vera", "ssf", "pissa")
CASES = [pytest.param(name, ("lora",), id=name) for name in NETWORKS]
CASES += [pytest.param(name, METHODS, id=f"{name}-others", marks=pytest.mark.slow) for name in NETWORKS]


@pytest.mark.parametrize(("name", "methods"), CASES)
def test_targets__are_called_in_the_forward_pass_and_get_gradients(name, methods):
    args, side, suffixes = NETWORKS[name]
    torch.manual_seed(0)
    backbone = timm.create_model(name, num_classes=0, **args)
    targets = default_targets(backbone)
    assert targets
    if suffixes:
        assert {target.rpartition(".")[2] for target in targets} <= suffixes
    images = torch.randn(2, 3, side, side)
    for method in methods:
        plugin = registry.load_plugin("medtune.models.peft", method, "method")
        if not supports(plugin, family(name)):
            continue
        adapted = plugin.inject(copy.deepcopy(backbone), plugin.Params())
        adapted.train().forward_features(images).square().mean().backward()
        trained = [(key, value.grad) for key, value in adapted.named_parameters() if value.requires_grad]
        without_gradient = [key for key, grad in trained if grad is None]
        # The features may not depend on biases of the last norm or of an attention whose output is not used.
        assert len(without_gradient) <= len(trained) // 4, (method, without_gradient)


def test_supports__checks_known_families_and_the_flag_for_others():
    lora, vera, adapter = (
        registry.load_plugin("medtune.models.peft", name, "m") for name in ("lora", "vera", "adapter")
    )
    assert supports(lora, "swin_transformer")
    assert supports(vera, "hiera")
    assert not supports(vera, "resnet")
    assert not supports(adapter, "hiera")
    assert supports(registry.load_plugin("medtune.models.peft", "none", "m"), "vgg")
    assert set(lora.SUPPORTED_FAMILIES) == set(KNOWN_FAMILIES)

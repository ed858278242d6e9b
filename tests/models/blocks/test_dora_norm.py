"""DoRA, compared with its formula, also for channels with zero weights."""

import torch
from peft import LoraConfig
from torch import nn

from medtune.models.blocks.dora_norm import clamp_norms
from medtune.models.blocks.peft_library import inject_adapter


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.ReLU(), nn.Conv2d(6, 5, 3)).double()


def test_dora__equals_the_formula_and_supports_zero_channels():
    plain = network()
    with torch.no_grad():
        plain[0].weight[2] = 0
    weight = plain[0].weight.detach().clone()
    config = LoraConfig(r=2, lora_alpha=4, use_dora=True)
    backbone = clamp_norms(inject_adapter(plain, config, ["0", "2"])).double()
    layer = backbone[0]
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    magnitude = layer.lora_magnitude_vector["default"].weight
    with torch.no_grad():
        b.normal_()
        magnitude.mul_(1.5)
    changed = weight + 4 / 2 * torch.einsum("or,rikl->oikl", b[:, :, 0, 0], a)
    norm = changed.flatten(1).norm(dim=1)
    expected = magnitude.flatten()[:, None, None, None] * changed / norm[:, None, None, None]
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    output = layer(x)
    torch.testing.assert_close(output, nn.functional.conv2d(x, expected))
    assert not output[:, 2].any()
    output.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in backbone.parameters() if p.grad is not None)

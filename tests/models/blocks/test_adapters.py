"""Comparison of adapters with the formulas of their papers."""

import timm
import torch
from torch.nn.functional import gelu

from medtune.models.peft import adapter, adaptformer


def vit():
    torch.manual_seed(0)
    return timm.create_model("test_vit", num_classes=0, img_size=32).double()


def randomized(backbone):
    """Randomize trained parameters, because initial zeros would hide differences."""
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.3)
    return backbone


def test_adapter__equals_the_formula_of_houlsby():
    """Compare with x + y + up(GELU(down(y))), where y = attention(norm(x)), then the same with the MLP."""
    block = randomized(adapter.inject(vit(), adapter.Params(hidden=5))).double().blocks[0]
    x = torch.randn(2, 5, 64, dtype=torch.float64)
    expected = x
    for norm, wrapped in ((block.norm1, block.attn), (block.norm2, block.mlp)):
        y = wrapped.module(norm(expected))
        down, up = wrapped.adapter.down, wrapped.adapter.up
        expected = expected + y + gelu(y @ down.weight.T + down.bias) @ up.weight.T + up.bias
    torch.testing.assert_close(block(x), expected)


def test_adapter__trains_adapters_and_norms():
    backbone = adapter.inject(vit(), adapter.Params())
    trained = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert {name for name in trained if ".adapter." not in name} == {
        name for name, _ in backbone.named_parameters() if "norm" in name and not name.startswith("fc_norm")
    }


def test_adaptformer__equals_the_formula_of_chen():
    """Compare with x + MLP(norm(x)) + s up(ReLU(down(norm(x))))."""
    block = randomized(adaptformer.inject(vit(), adaptformer.Params(hidden=5, scale=0.3))).double().blocks[0]
    x = torch.randn(2, 5, 64, dtype=torch.float64)
    x = x + block.attn(block.norm1(x))
    y, (down, up) = block.norm2(x), (block.mlp.adapter.down, block.mlp.adapter.up)
    expected = x + block.mlp.module(y)
    expected = expected + 0.3 * ((y @ down.weight.T + down.bias).relu() @ up.weight.T + up.bias)
    torch.testing.assert_close(x + block.mlp(y), expected)

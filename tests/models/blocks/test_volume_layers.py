"""PEFT building blocks for 3-D layers, compared with formulas and with finite differences."""

import pytest
import torch
from peft import LoraConfig
from torch import nn

from medtune.config import registry
from medtune.models.blocks.center_tap import CenterTapAdapter
from medtune.models.blocks.dora_norm import clamp_norms
from medtune.models.blocks.peft_library import inject_adapter, merge_adapter
from medtune.models.blocks.selection import norm_names
from medtune.models.blocks.target_layers import default_targets
from medtune.models.blocks.volume_layers import bias_names, normalized_layers


class Skip(nn.Module):
    """A convolution whose output an instance norm and a skip connection read."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(2, 2, 3, padding=1)
        self.norm = nn.InstanceNorm3d(2)

    def forward(self, x):
        y = self.conv(x)
        return y + torch.relu(self.norm(y))


class Upsampling(nn.Module):
    """A convolution and a transposed convolution."""

    def __init__(self, transposed):
        super().__init__()
        self.transposed = transposed
        self.conv = nn.Conv3d(1, 2, 1)

    def forward(self, x):
        return self.transposed(self.conv(x))


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(1, 2, 3, stride=4, padding=1),  # 0: before an instance norm
        nn.InstanceNorm3d(2, affine=True),
        nn.ReLU(),
        Skip(),  # 3
        nn.Conv3d(2, 4, (1, 1, 3), padding=(0, 0, 1)),  # 4: before a norm of two groups
        nn.GroupNorm(2, 4),
        nn.ConvTranspose3d(4, 3, 2, stride=2),  # 6: before a norm of one channel per group
        nn.GroupNorm(3, 3),
        nn.Conv3d(3, 2, 1),  # 8
    )


def inject(name, backbone):
    plugin = registry.load_plugin("medtune.models.peft", name, "method")
    return plugin, plugin.inject(backbone, plugin.Params())


def test_normalized_layers__are_those_whose_shift_has_no_effect():
    backbone = network()
    found = normalized_layers(backbone)
    assert found == {"0", "6"}
    x = torch.randn(1, 1, 16, 16, 16)
    for name in ("0", "3.conv", "4", "6", "8"):
        with torch.no_grad():
            before = backbone(x)
            backbone.get_submodule(name).bias[0] += 1
            change = float((backbone(x) - before).abs().max())
        assert (change < 1e-4) == (name in found)


def test_normalized_layers__ignore_networks_of_images():
    assert normalized_layers(nn.Sequential(nn.Conv2d(1, 2, 3), nn.InstanceNorm2d(2, affine=True))) == set()


def test_normalized_layers__do_not_change_the_network():
    backbone = network().train().requires_grad_(False)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    normalized_layers(backbone)
    assert backbone.training
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())
    assert all(not p.requires_grad and p.grad is None for p in backbone.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in backbone.modules())


def test_bias_and_norm_names__contain_3d_layers():
    backbone = network()
    assert bias_names(backbone) == {"1.bias", "3.conv.bias", "4.bias", "5.bias", "7.bias", "8.bias"}
    assert norm_names(backbone) == {f"{index}.{name}" for index in (1, 5, 7) for name in ("weight", "bias")}


def test_targets__are_3d_convolutions_without_transposed_ones():
    assert default_targets(nn.Sequential(network())) == ["0.0", "0.3.conv", "0.4", "0.8"]


@pytest.mark.parametrize("method", ["ssf", "svdiff", "fishmask"])
def test_method__adapts_and_merges_transposed_convolutions(method):
    transposed = nn.ConvTranspose3d(2, 3, 2, stride=2, bias=method != "ssf")
    plain = transposed.weight.detach().clone()
    plugin, backbone = inject(method, Upsampling(transposed))
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3)
    x = torch.randn(1, 1, 4, 4, 4)
    with torch.no_grad():
        expected = backbone(x)
        merged = plugin.merge(backbone)
        torch.testing.assert_close(merged(x), expected, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(merged.transposed.weight, plain)


def test_ssf__scales_and_shifts_the_output_of_a_transposed_convolution():
    torch.manual_seed(0)
    layer = nn.ConvTranspose3d(2, 3, 2, stride=2)
    x = torch.randn(1, 2, 4, 4, 4)
    output = layer(x)
    _, backbone = inject("ssf", nn.Sequential(nn.Conv3d(2, 2, 1), layer))
    scale, shift = torch.tensor([0.5, 2.0, 3.0]), torch.tensor([1.0, -1.0, 0.0])
    parametrizations = backbone[1].parametrizations
    with torch.no_grad():
        parametrizations.bias[0].scale.copy_(scale)
        parametrizations.bias[0].shift.copy_(shift)
        assert parametrizations.weight[0].scale is parametrizations.bias[0].scale
    expected = output * scale.view(1, 3, 1, 1, 1) + shift.view(1, 3, 1, 1, 1)
    torch.testing.assert_close(backbone[1](x), expected)


@pytest.mark.parametrize("kernel", [(1, 1, 1), (1, 1, 3), (3, 1, 1), (3, 3, 3)])
@pytest.mark.parametrize("use_dora", [False, True])
def test_low_rank_update__merges_for_every_kernel(kernel, use_dora):
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv3d(3, 4, kernel, padding=tuple(size // 2 for size in kernel))).double()
    with torch.no_grad():
        backbone[0].weight[1] = 0  # DoRA divides by the norm of this channel
    adapted = inject_adapter(backbone, LoraConfig(r=2, lora_alpha=4, use_dora=use_dora), ["0"])
    clamp_norms(adapted).double()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name and not use_dora:
                parameter.normal_()
            elif "magnitude" in name:
                parameter.mul_(1.5)
        x = torch.randn(1, 3, 4, 5, 6, dtype=torch.float64)
        expected = adapted(x)
        merged = merge_adapter(adapted)
        assert expected.isfinite().all()
        torch.testing.assert_close(merged(x), expected, atol=1e-10, rtol=1e-8)
    assert type(merged[0]) is nn.Conv3d


@pytest.mark.parametrize("kernel", [(3, 3, 3), (1, 3, 5)])
@pytest.mark.parametrize("channelwise", [False, True])
def test_tsa__equals_the_formula_of_li_in_3d(channelwise, kernel):
    torch.manual_seed(0)
    padding = tuple(size // 2 for size in kernel)
    convolution = nn.Conv3d(4, 4, kernel, 2, padding=padding).double()
    adapter = CenterTapAdapter(convolution.weight, channelwise).double()
    with torch.no_grad():
        adapter.residual.normal_()
    x = torch.randn(2, 4, 6, 8, 5, dtype=torch.float64)
    changed = nn.functional.conv3d(x, adapter(convolution.weight), convolution.bias, 2, padding)
    matrix = torch.diag(adapter.residual) if channelwise else adapter.residual
    expected = convolution(x) + nn.functional.conv3d(x, matrix[:, :, None, None, None], stride=2)
    torch.testing.assert_close(changed, expected)

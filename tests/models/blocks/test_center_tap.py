"""Comparison of TSA's residual adapter with its formula conv(x) + A x."""

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d

from medtune.models.blocks.center_tap import CenterTapAdapter


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channelwise", [False, True])
def test_tsa__equals_the_formula_of_li(channelwise, stride):
    torch.manual_seed(0)
    convolution = nn.Conv2d(4, 4, 3, stride, padding=1).double()
    adapter = CenterTapAdapter(convolution.weight, channelwise).double()
    with torch.no_grad():
        adapter.residual.normal_()
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    changed = conv2d(x, adapter(convolution.weight), convolution.bias, stride, padding=1)
    kernel = torch.diag(adapter.residual) if channelwise else adapter.residual
    torch.testing.assert_close(changed, convolution(x) + conv2d(x, kernel[:, :, None, None], stride=stride))

"""Small branches beside the convolutions of a CNN; each gives zero at the start."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class LiteResidual(nn.Module):
    """module(x) plus a branch that sees x at half its size.

    The branch: 2x2 average, k x k convolution in groups to `hidden` channels, group norm, ReLU, 1x1 convolution,
    enlarged again.
    """

    def __init__(self, module: nn.Module, inner: int, hidden: int, out: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.module = module
        groups = math.gcd(inner, hidden, groups)
        self.convolve = nn.Conv2d(inner, hidden, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.GroupNorm(math.gcd(hidden, max(1, hidden // 8)), hidden)
        self.project = nn.Conv2d(hidden, out, 1, bias=False)
        nn.init.zeros_(self.project.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> what the module gives."""
        y = self.module(x)
        if min(x.shape[2:]) > 1:
            x = functional.avg_pool2d(x, 2)
        branch = self.project(torch.relu(self.norm(self.convolve(x))))
        return y + functional.interpolate(branch, size=y.shape[2:], mode="bilinear")


class ConvBottleneck(nn.Module):
    """A convolution of `like`'s own kernel to fewer channels, ReLU, 1x1 up, scaled by channel.

    Its first convolution is in as many groups as it has channels, or as that number and `like`'s inputs allow.
    """

    def __init__(self, reference: nn.Conv2d, reduction: int) -> None:
        super().__init__()
        hidden = math.gcd(reference.in_channels, max(1, reference.in_channels // reduction))
        # Of the same class: timm has convolutions that pad by themselves.
        self.down = type(reference)(
            reference.in_channels,
            hidden,
            reference.kernel_size,
            stride=reference.stride,
            padding=reference.padding,
            dilation=reference.dilation,
            groups=hidden,
        )
        self.up = nn.Conv2d(hidden, reference.out_channels, 1)
        self.scale = nn.Parameter(torch.ones(reference.out_channels, 1, 1))
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H', W')."""
        return self.scale * self.up(torch.relu(self.down(x)))

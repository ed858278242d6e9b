"""Small branches parallel to the convolutions of a CNN. The output of a branch is initially zero."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class LiteResidual(nn.Module):
    """Sum of module(x) and a branch at half the resolution of x.

    The branch applies a 2x2 average, a grouped k x k convolution to `hidden` channels, group norm, ReLU and a 1x1
    convolution. Its output is then upsampled.
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
        """Map feature maps (B, C, H, W) to feature maps in the shape of the module's output."""
        y = self.module(x)
        if min(x.shape[2:]) > 1:
            x = functional.avg_pool2d(x, 2)
        branch = self.project(torch.relu(self.norm(self.convolve(x))))
        return y + functional.interpolate(branch, size=y.shape[2:], mode="bilinear")


class ConvBottleneck(nn.Module):
    """Convolution `down` to fewer channels, ReLU, 1x1 convolution `up` and a scale per channel.

    `down` is a grouped convolution with the kernel and stride of `reference`. Each group has one output channel. The
    number of groups is a divisor of the number of input channels, at most 1 / `reduction` of this number.
    """

    def __init__(self, reference: nn.Conv2d, reduction: int) -> None:
        super().__init__()
        hidden = math.gcd(reference.in_channels, max(1, reference.in_channels // reduction))
        # Use the same class, because some of timm's convolutions compute their padding.
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
        """Map feature maps (B, in, H, W) to (B, out, H', W')."""
        return self.scale * self.up(torch.relu(self.down(x)))

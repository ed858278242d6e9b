"""Light 3-D decoder that reads a volume and the feature maps of its slices from a backbone."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

# The logits are multiplied by this factor, and the initial weights of their layer are divided by it. Without the
# factor, the probabilities hardly change in the first hundreds of steps, because the layer has few channels and the
# learning rate is small (docs/performance.md).
LOGIT_SCALE = 8.0
# Channels at full resolution. Half and quarter resolution have twice and four times as many.
WIDTH = 16


class ConvBlock(nn.Sequential):
    """3x3x3 convolution, instance norm and leaky ReLU. With stride 2, n voxels become ceil(n / 2).

    With `depth` 1, for volumes of one slice, the convolution is 3x3x1 and its stride along Z is 1.
    """

    def __init__(self, inner: int, out: int, stride: int = 1, depth: int = 3) -> None:
        super().__init__(
            nn.Conv3d(
                inner,
                out,
                (3, 3, depth),
                (stride, stride, stride if depth > 1 else 1),
                padding=(1, 1, depth // 2),
                bias=False,
            ),
            nn.InstanceNorm3d(out, affine=True),
            nn.LeakyReLU(0.01),
        )


class Projection(nn.Sequential):
    """Projection of a feature map of the backbone: 1x1x1 convolution, group norm with one group, and leaky ReLU.

    An instance norm would fail for a map of one element, and would remove shifts that a PEFT method trains.
    """

    def __init__(self, inner: int, out: int) -> None:
        super().__init__(nn.Conv3d(inner, out, 1, bias=False), nn.GroupNorm(1, out), nn.LeakyReLU(0.01))


class SliceDecoder(nn.Module):
    """U-Net with full, half and quarter resolution that also reads feature maps of a backbone, called levels.

    A level whose elements are at most two voxels wide is read at half resolution. Other levels are read at quarter
    resolution.

    Args:
        channels: number of channels of the volume.
        classes: number of classes including the background, K.
        levels: for each level, its channels and the width of its elements in voxels; empty without a backbone.
        width: channels at full resolution.
        depth: size of the convolutions along Z: 3, or 1 for volumes of one slice.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        levels: Sequence[tuple[int, float]],
        width: int = WIDTH,
        depth: int = 3,
    ) -> None:
        super().__init__()

        def block(inner: int, out: int, stride: int = 1) -> ConvBlock:
            return ConvBlock(inner, out, stride, depth)

        full, half, quarter = width, 2 * width, 4 * width
        self.resolutions = [1 if width <= 2 else 2 for _, width in levels]
        self.projections = nn.ModuleList([Projection(count, half) for count, _ in levels])
        self.stem = nn.Sequential(block(channels, full), block(full, full))
        self.down = nn.ModuleList([block(full, half, stride=2), block(half, quarter, stride=2)])
        self.fuse = nn.ModuleList(
            [
                block(count + half * self.resolutions.count(resolution), count)
                for resolution, count in ((1, half), (2, quarter))
            ]
        )
        self.up = nn.ModuleList([block(quarter + half, half), block(half + full, full)])
        self.output = nn.Conv3d(full, classes, 1)
        with torch.no_grad():
            for parameter in self.output.parameters():
                parameter.div_(LOGIT_SCALE)

    def forward(self, volume: Tensor, levels: Sequence[Tensor], extent: tuple[int, int]) -> Tensor:
        """Compute logits.

        Args:
            volume: (B, C, X, Y, Z), slices along Z.
            levels: feature maps (B, c, h, w, n) of n slices, evenly spaced along Z.
            extent: number of voxels in X and Y that the feature maps cover, from the first voxel. Multiples of 4.

        Returns:
            Logits (B, K, X, Y, Z).
        """
        return self.forward_with_deepest(volume, levels, extent)[0]

    def forward_with_deepest(
        self, volume: Tensor, levels: Sequence[Tensor], extent: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Compute logits, and return them with the feature map of the coarsest resolution; see `forward`."""
        projected = [project(level) for project, level in zip(self.projections, levels, strict=True)]
        pyramid = [self.stem(volume)]
        for resolution, (down, fuse) in enumerate(zip(self.down, self.fuse, strict=True), 1):
            x = down(pyramid[-1])
            resized = [
                _resize(level, x, extent, 2**resolution)
                for level, target in zip(projected, self.resolutions, strict=True)
                if target == resolution
            ]
            pyramid.append(fuse(torch.cat([x, *resized], dim=1)))
        x = pyramid[-1]
        for up, skip in zip(self.up, reversed(pyramid[:-1]), strict=True):
            x = interpolate(x, size=skip.shape[2:], mode="trilinear")
            x = up(torch.cat([x, skip], dim=1))
        logits: Tensor = LOGIT_SCALE * self.output(x)
        return logits, pyramid[-1]


def _resize(level: Tensor, like: Tensor, extent: tuple[int, int], factor: int) -> Tensor:
    """Resample a feature map to the grid of `like`, whose elements are `factor` voxels wide, and crop it to `like`."""
    size = (extent[0] // factor, extent[1] // factor, like.shape[4])
    resized = interpolate(level, size=size, mode="trilinear")
    return resized[:, :, : like.shape[2], : like.shape[3]]

"""2.5-D network: a timm backbone reads slices of a volume. A light 3-D decoder reads the volume and the features."""

from collections.abc import Sequence
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from medtune.config.errors import InputError
from medtune.models.slice_decoder import WIDTH, SliceDecoder
from medtune.models.slice_levels import level_features, level_shapes, remove_unused, uses_tokens
from medtune.models.window_network import WindowNetwork, window_features

Normalization = tuple[Sequence[float], Sequence[float]]  # mean and standard deviation per color channel

IMAGENET = (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
COLORS = 3  # color channels of an image
NEIGHBORS = COLORS  # slices per image: the previous, the slice itself and the next, as color channels
STEP = 2  # the backbone reads every second slice
COARSEST = 4  # voxels per element at the coarsest resolution of the decoder
REDUCTION = 32  # sides of the images of a CNN are multiples of this number of pixels
MIN_SIDE = 12  # smallest side of a slice in voxels: a norm of few voxels amplifies rounding errors


def slice_side(patch: Sequence[int], slice_scale: float, patch_size: int, slice_axis: int = 2) -> int:
    """Return the side in pixels of the square images that a ViT reads, the value of its argument `img_size`.

    Args:
        patch: X, Y and Z of a training patch in voxels.
        slice_scale: pixels per voxel.
        patch_size: side of the ViT's patches in pixels.
        slice_axis: axis along which the slices follow each other, 0..2.

    Returns:
        A multiple of `patch_size`.
    """
    longest = max(side for axis, side in enumerate(patch) if axis != slice_axis)
    return _round_up(_round_up(longest, COARSEST) * slice_scale, patch_size)


class SliceNetwork(WindowNetwork):
    """Backbone of slices and 3-D decoder.

    The backbone reads each channel of the volume separately. The three colors of an image are a slice and its two
    neighbors. A volume of one slice has no neighbors. If such a volume has three channels, they are the colors of one
    image. With another number of channels, each channel becomes an image with three equal colors.

    Slices are padded with their edge values and resampled to the size of the images. Volumes have mean 0 and standard
    deviation 1, like images with the normalization of ImageNet. If the weights need another normalization, the images
    are converted to it.

    Attributes:
        backbone: the timm model without layers behind its last level; an empty `nn.Identity` for
            `model.backbone=none`.
        head: the decoder, which is always trained.
        patch: largest X, Y and Z in voxels.
        images: number of images per slice that the backbone reads.
        limits: largest height and width of a slice in voxels.
        extent: height and width in voxels that an image covers, at least `limits`.
        pixels: height and width of an image.
        scale, shift: conversion of images to the normalization of the weights, (3, 1, 1).
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        backbone: nn.Module | None,
        channels: int,
        classes: int,
        patch: Sequence[int],
        slice_scale: float = 2.0,
        slice_axis: int = 2,
        normalization: Normalization | None = None,
        width: int = WIDTH,
    ) -> None:
        """Create the decoder for the levels of the backbone.

        Args:
            backbone: timm model with its weights and without an injected PEFT method, changed in place. None selects
                `model.backbone=none`.
            channels: number of channels of the volume, C.
            classes: number of classes including the background, K.
            patch: largest X, Y and Z in voxels. The size along the slice axis is not limited.
            slice_scale: pixels per voxel of a slice; greater for smaller structures.
            slice_axis: axis along which the slices follow each other, 0..2.
            normalization: mean and standard deviation of images in 0..1 that the weights require. None: ImageNet's.
            width: channels of the decoder at full resolution.

        Raises:
            InputError: the images of the backbone are too small, the patch is too small, or the backbone has no levels.
        """
        super().__init__()
        self.axis = slice_axis
        self.patch = (patch[0], patch[1], patch[2])
        flat = patch[slice_axis] == 1
        self.images = 1 if flat and channels == COLORS else channels
        sides = [side for axis, side in enumerate(patch) if axis != slice_axis]
        if min(sides) < MIN_SIDE:
            raise InputError(f"data.patch={list(patch)}: slices need sides of at least {MIN_SIDE} voxels. "
                             "Use a larger patch")  # fmt: skip
        self.limits = (sides[0], sides[1])
        self.extent = (_round_up(sides[0], COARSEST), _round_up(sides[1], COARSEST))
        self.pixels = (0, 0)
        self._set_normalization(normalization or IMAGENET)
        levels: list[tuple[int, float]] = []
        self.backbone = nn.Identity() if backbone is None else remove_unused(backbone)
        if backbone is not None:
            self.pixels = self._image_size(self.backbone, patch, slice_scale)
            levels = [
                (self.images * count, self.extent[0] / height)
                for count, height in level_shapes(self.backbone, self.pixels)
            ]
        self.head = SliceDecoder(channels, classes, levels, width, depth=1 if flat else 3)

    def forward(self, volumes: Tensor) -> Tensor:
        """Map volumes (B, C, X, Y, Z) to logits (B, K, X, Y, Z)."""
        logits: Tensor = self.decode(volumes, self.levels(volumes))
        return logits

    def forward_with_features(self, volumes: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits, and features of the coarsest resolution of the decoder and of the logits."""
        levels, moved = self.levels(volumes), volumes.movedim(2 + self.axis, 4)
        logits, deepest = self.head.forward_with_deepest(moved, levels, self.extent)  # type: ignore[operator]
        return logits.movedim(4, 2 + self.axis), window_features([deepest, logits])

    def levels(self, volumes: Tensor) -> list[Tensor]:
        """Compute the features of the slices, which a run with a frozen backbone can store.

        Args:
            volumes: (B, C, X, Y, Z), normalized.

        Returns:
            For each level, a feature map (B, images * c, h, w, n) of n slices. The list is empty without a backbone.
        """
        if isinstance(self.backbone, nn.Identity):
            return []
        volumes = volumes.movedim(2 + self.axis, 4)
        images = self._images(volumes)
        slices = -(-volumes.shape[4] // STEP)
        return [
            level.reshape(-1, self.images, slices, *level.shape[1:]).permute(0, 1, 3, 4, 5, 2).flatten(1, 2)
            for level in level_features(self.backbone, images)
        ]

    def decode(self, volumes: Tensor, levels: Sequence[Tensor]) -> Tensor:
        """Map volumes (B, C, X, Y, Z) and their `levels` to logits (B, K, X, Y, Z)."""
        logits: Tensor = self.head(volumes.movedim(2 + self.axis, 4), levels, self.extent)
        return logits.movedim(4, 2 + self.axis)

    def _images(self, volumes: Tensor) -> Tensor:
        """Return images (B * images * n, 3, H, W) of n slices of volumes whose last axis is the slice axis."""
        height, width, depth = volumes.shape[2:]
        if height > self.limits[0] or width > self.limits[1]:
            raise ValueError(f"slices of {height} x {width} voxels are larger than those of the patch, {self.limits}")
        below, right = self.extent[0] - height, self.extent[1] - width
        padded = pad(volumes, (1, 1, 0, right, 0, below), mode="replicate")
        if self.images < volumes.shape[1]:
            stack = padded[:, None, ..., 1 : 1 + depth : STEP]
        else:
            stack = torch.stack([padded[..., first : first + depth : STEP] for first in range(NEIGHBORS)], dim=2)
        images = stack.permute(0, 1, 5, 2, 3, 4).flatten(0, 2)
        images = interpolate(images, size=self.pixels, mode="bilinear")
        return images * self.scale + self.shift if self.converts else images

    def _set_normalization(self, normalization: Normalization) -> None:
        """Set the conversion of ImageNet's (x - m) / s to another mean m and standard deviation s of each channel."""
        self.converts = [list(values) for values in normalization] != [list(values) for values in IMAGENET]
        known, needed = (torch.tensor([list(values) for values in pair]) for pair in (IMAGENET, normalization))
        self.register_buffer("scale", (known[1] / needed[1])[:, None, None], persistent=False)
        self.register_buffer("shift", ((known[0] - needed[0]) / needed[1])[:, None, None], persistent=False)

    def _image_size(self, backbone: Any, patch: Sequence[int], slice_scale: float) -> tuple[int, int]:
        """Return height and width of the images in pixels, and set `extent` to the voxels that the images cover."""
        if uses_tokens(backbone):
            height, width = backbone.patch_embed.img_size
        else:
            height, width = (_round_up(side * slice_scale, REDUCTION) for side in self.extent)
        extent = (_round_up(height / slice_scale, COARSEST), _round_up(width / slice_scale, COARSEST))
        if extent[0] < self.extent[0] or extent[1] < self.extent[1]:
            side = slice_side(patch, slice_scale, backbone.patch_embed.patch_size[0], self.axis)
            raise InputError(
                f"data.patch={list(patch)}: its slices need images of {side} pixels at slice_scale={slice_scale:g}, "
                f"but the backbone reads {height} x {width}. Set model.backbone_args={{img_size: {side}}}"
            )
        self.extent = extent
        return height, width


def _round_up(value: float, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is at least `value`, up to rounding errors."""
    return -int(-(value - 1e-6) // multiple) * multiple

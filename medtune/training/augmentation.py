"""Random augmentation of batches on the device, with separate random values for each image.

One of the eight flips and quarter turns of an image is called a dihedral view.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medtune.config.training import AugmentParams, Border
from medtune.training.replicas import ALL_ROWS
from medtune.training.transfer import to_device

# Ruifrok & Johnston 2001: optical density of hematoxylin, eosin and DAB in red, green and blue.
STAIN_BASIS = torch.tensor([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
STAIN_INVERSE = torch.linalg.inv(STAIN_BASIS)
# Matrices that map (x, y) in each of the eight views to (x, y) in the image. Coordinates are in -1..1. Views 0 to 3 are
# quarter turns of the image, views 4 to 7 are quarter turns of the mirrored image.
DIHEDRAL_MAPS = torch.tensor(
    [
        [[mirror * across, -mirror * down], [down, across]]
        for mirror in (1.0, -1.0)
        for across, down in ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))
    ]
)
# Distance of the pixels in a quick test that recognizes most color images.
STRIDE = 16


class PerSampleRng:
    """Random numbers per image that do not depend on the process that computes the image.

    Every process draws the numbers of the complete batch and uses those of its rows.

    Args:
        generator: CPU generator of all random numbers, for reproducible runs.
        batch: number of images in the batch.
        rows: rows of the batch for which numbers are returned.
    """

    def __init__(self, generator: torch.Generator, batch: int, rows: slice) -> None:
        self.generator, self.batch, self.rows = generator, batch, rows

    def integers(self, high: int) -> Tensor:
        """Draw integers (rows,) in 0..high - 1."""
        return torch.randint(high, (self.batch,), generator=self.generator)[self.rows]

    def bernoulli(self, probability: float) -> Tensor:
        """Draw (rows,) values that are 1.0 with `probability` and otherwise 0.0.

        Args:
            probability: 0..1; at 1, no random numbers are consumed.

        Returns:
            Values (rows,).
        """
        if probability == 1:
            return torch.ones(self.batch)[self.rows]
        return (torch.rand(self.batch, generator=self.generator)[self.rows] < probability).float()

    def uniform(self, n_values: int, limit: float) -> Tensor:
        """Draw uniform values (rows, n_values) in -limit..limit."""
        values = torch.rand(self.batch * n_values, generator=self.generator).mul_(2).sub_(1).mul_(limit)
        return values.view(self.batch, n_values)[self.rows]


def augment(
    images: Tensor,
    params: AugmentParams,
    generator: torch.Generator,
    batch: int | None = None,
    rows: slice = ALL_ROWS,
) -> Tensor:
    """Augment uint8 images (B, H, W, 3) to float images (B, 3, H, W) in 0..1; arguments as in `vary`."""
    return vary(images, params, generator, batch, rows)[0]


@dataclass(frozen=True)
class Geometry:
    """Geometric transformation of each image of a batch, which is also applied to the image's target.

    Attributes:
        views: (B,) dihedral views, used only if `theta` is None; None without views.
        theta: (B, 2, 3) affine maps for `_resample`, which include the views; None without affine maps.
        border: as in `AugmentParams`.
    """

    views: Tensor | None = None
    theta: Tensor | None = None
    border: Border = "reflect"

    def __call__(self, target: Tensor) -> Tensor:
        """Transform targets (B, C, H, W) with nearest-neighbor sampling.

        Args:
            target: (B, C, H, W).

        Returns:
            The transformed targets in the same dtype.
        """
        if self.theta is not None:
            return _resample(target.float(), self.theta, self.border, "nearest").to(target.dtype)
        return target if self.views is None else dihedral(target, self.views)


def vary(
    images: Tensor,
    params: AugmentParams,
    generator: torch.Generator,
    batch: int | None = None,
    rows: slice = ALL_ROWS,
) -> tuple[Tensor, Geometry]:
    """Augment images and return the geometric part of the transformation.

    Args:
        images: uint8 (B, H, W, 3) on any device.
        params: strength of each transformation.
        generator: generator of all random numbers.
        batch: size of the complete batch, if `images` are only some of its images.
        rows: indices of `images` in the complete batch.

    Returns:
        Augmented images, float (B, 3, H, W) in 0..1, and their geometric transformation.

    Raises:
        TypeError: the images are not uint8.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"augment requires uint8 images, got {images.dtype}")
    rng = PerSampleRng(generator, len(images) if batch is None else batch, rows)
    x = images.permute(0, 3, 1, 2).float().div_(255)
    views = rng.integers(8) if params.dihedral else _flips(rng, params.flip) if params.flip else None
    theta = _affine_maps(params, rng, views) if params.shift or params.scale or params.rotate else None
    if theta is not None:
        x = _resample(x, theta, params.border)
    elif views is not None:
        x = dihedral(x, views)
    if params.stain:
        x = _jitter_stain(x, params.stain, rng, _is_grayscale(images))
    if params.contrast or params.brightness:
        contrast = 1 + _sample_scalar(x, params.contrast, params.color_probability, rng) if params.contrast else 1
        brightness = 1 + _sample_scalar(x, params.brightness, params.color_probability, rng) if params.brightness else 1
        mean = x.mean((1, 2, 3), keepdim=True)  # contrast does not change the mean
        x = x.mul_(contrast * brightness).add_(mean * (1 - contrast) * brightness)
    return x.clamp_(0, 1), Geometry(views, theta, params.border)


def dihedral(x: Tensor, views: Tensor) -> Tensor:
    """Apply one of the eight flips and quarter turns to each image; view 0 is the image itself.

    Args:
        x: (B, C, H, W) with H = W.
        views: (B,) integers 0..7. Images are rotated by `view % 4` quarter turns, after a mirroring if `view >= 4`.

    Returns:
        The transformed images (B, C, H, W).
    """
    out = torch.empty_like(x)
    for view in views.unique().tolist():  # type: ignore[no-untyped-call]
        # Indices instead of a mask, because a mask synchronizes with the GPU.
        indices = to_device((views == view).nonzero()[:, 0], x.device)
        images = x[indices]
        images = images.flip(3) if view >= 4 else images
        out[indices] = images.rot90(view % 4, (2, 3))
    return out


def _flips(rng: PerSampleRng, probability: float) -> Tensor:
    """Draw dihedral views (rows,) that flip horizontally and, independently, vertically with `probability`."""
    horizontal, vertical = rng.bernoulli(probability), rng.bernoulli(probability)
    # View 4 is the horizontal flip, view 2 the half turn (both flips), and view 6 the vertical flip.
    return (4 * (horizontal != vertical) + 2 * vertical).long()


def _affine_maps(params: AugmentParams, rng: PerSampleRng, views: Tensor | None) -> Tensor:
    """Draw affine maps (rows, 2, 3) from output to input (x, y), which combine zoom, rotation, shift and view."""
    applied = rng.bernoulli(params.affine_probability)
    angle = rng.uniform(1, math.radians(params.rotate))[:, 0] * applied
    zoom = 1 / (1 + rng.uniform(1, params.scale)[:, 0] * applied)
    shift = rng.uniform(2, 2 * params.shift) * applied[:, None]  # the side of an image is 2 in grid units
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    theta = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).view(-1, 2, 3)
    return theta if views is None else DIHEDRAL_MAPS[views] @ theta


def _resample(x: Tensor, theta: Tensor, border: Border = "reflect", mode: str = "bilinear") -> Tensor:
    """Sample each output pixel of (B, C, H, W) where its affine map (B, 2, 3) points; `border` as in AugmentParams."""
    theta = to_device(theta, x.device)
    grid = x.new_empty(len(x), *x.shape[2:], 2)
    down, across = ((2 * torch.arange(n, device=x.device) + 1) / n - 1 for n in x.shape[2:])
    for axis in range(2):  # needs one addition per pixel, whereas F.affine_grid multiplies matrices
        rows = theta[:, axis, 1, None] * down + theta[:, axis, 2, None]
        columns = theta[:, axis, 0, None] * across
        torch.add(rows[:, :, None], columns[:, None, :], out=grid[..., axis])
    padding = "zeros" if border == "black" else "reflection"
    return F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=False)


def _jitter_stain(x: Tensor, strength: float, rng: PerSampleRng, grayscale: Tensor | None) -> Tensor:
    """Scale and shift the amount of each stain (Tellez et al. 2018, arXiv 1707.06183).

    Args:
        x: images in 0..1 (B, 3, H, W), modified in place if `grayscale` is None.
        strength: largest relative change of the scale; the largest shift is half of it.
        rng: source of random numbers.
        grayscale: (B, 1, 1, 1) True for images to leave unchanged; None if there are no such images.

    Returns:
        The changed images.
    """
    scale, shift = 1 + rng.uniform(3, strength), rng.uniform(3, strength / 2)
    # One matrix per image converts density to stain amounts, scales them and converts back, which saves memory.
    mixing = to_device(STAIN_BASIS.T @ (scale[:, :, None] * STAIN_INVERSE.T), x.device)
    shifted = to_device(-(shift @ STAIN_BASIS)[:, :, None], x.device)
    light = (x if grayscale is None else x.clone()).clamp_(1 / 255, 1).log_().flatten(2)
    changed = torch.baddbmm(shifted, mixing, light).exp_().view_as(x)
    return changed if grayscale is None else torch.where(grayscale, x, changed)


def _is_grayscale(images: Tensor) -> Tensor | None:
    """Find grayscale images.

    Args:
        images: uint8 (B, H, W, 3).

    Returns:
        (B, 1, 1, 1) True for grayscale images; None if a quick test on the CPU finds none.
    """
    # The quick test runs only on the CPU, because it would synchronize with a GPU.
    if not images.is_cuda and not _equal_channels(images[:, ::STRIDE, ::STRIDE]).any():
        return None
    return _equal_channels(images).view(-1, 1, 1, 1)


def _equal_channels(images: Tensor) -> Tensor:
    """Return (B,) True for images whose three channels are equal."""
    red, green, blue = images.unbind(3)
    return ((red == green) & (green == blue)).flatten(1).all(1)


def _sample_scalar(x: Tensor, limit: float, probability: float, rng: PerSampleRng) -> Tensor:
    """Draw (B, 1, 1, 1) values that are in -limit..limit with `probability` and otherwise 0, on the device of `x`."""
    values = rng.uniform(1, limit) * rng.bernoulli(probability)[:, None]
    return to_device(values[:, :, None, None], x.device)

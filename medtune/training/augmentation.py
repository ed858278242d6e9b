"""Batch augmentation on the device, drawn anew for each image; no image leaves its range.

Everything works on floats in 0..1 made from uint8 here: brightness and contrast cannot clip a 0..255
image to white, the fault that blanked half the training images of CDTM's reference code.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medtune.config.training import AugmentParams, Border
from medtune.training.replicas import ALL_ROWS
from medtune.training.transfer import to_device

# Ruifrok & Johnston 2001: optical density of haematoxylin, eosin and DAB in red, green and blue.
STAIN_BASIS = torch.tensor([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
STAIN_INVERSE = torch.linalg.inv(STAIN_BASIS)
# Where each of the eight views finds (x, y) in the image, from -1 to 1 on both axes: quarter turns, then mirrored.
DIHEDRAL_MAPS = torch.tensor(
    [
        [[mirror * across, -mirror * down], [down, across]]
        for mirror in (1.0, -1.0)
        for across, down in ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))
    ]
)
# Pixels this far apart tell most coloured images from grey ones.
STRIDE = 16


class PerSampleRng:
    """Random numbers for every row of a batch, of which some rows' are taken: who computes a row does not change it.

    Args:
        generator: CPU generator that every draw comes from, so that a run can be repeated.
        batch: number of rows.
        rows: those that are wanted.
    """

    def __init__(self, generator: torch.Generator, batch: int, rows: slice) -> None:
        self.generator, self.batch, self.rows = generator, batch, rows

    def integers(self, high: int) -> Tensor:
        """(rows,) in 0..high - 1."""
        return torch.randint(high, (self.batch,), generator=self.generator)[self.rows]

    def bernoulli(self, probability: float) -> Tensor:
        """(rows,) 1.0 with `probability`, else 0.0; a probability of 1 takes no random number."""
        if probability == 1:
            return torch.ones(self.batch)[self.rows]
        return (torch.rand(self.batch, generator=self.generator)[self.rows] < probability).float()

    def uniform(self, n_values: int, limit: float) -> Tensor:
        """(rows, each) in -limit..limit."""
        values = torch.rand(self.batch * n_values, generator=self.generator).mul_(2).sub_(1).mul_(limit)
        return values.view(self.batch, n_values)[self.rows]


def augment(
    images: Tensor,
    params: AugmentParams,
    generator: torch.Generator,
    batch: int | None = None,
    rows: slice = ALL_ROWS,
) -> Tensor:
    """Randomly changed images: uint8 (B, H, W, 3) -> float (B, 3, H, W) in 0..1. Arguments as in `vary`."""
    return vary(images, params, generator, batch, rows)[0]


@dataclass(frozen=True)
class Geometry:
    """How each image of a batch was moved, to move its target alike.

    Attributes:
        views: (B,) dihedral views, part of `theta` where that is given.
        theta: (B, 2, 3) affine maps as for `_resample`.
        border: as in `AugmentParams`.
    """

    views: Tensor | None = None
    theta: Tensor | None = None
    border: Border = "reflect"

    def __call__(self, target: Tensor) -> Tensor:
        """Move (B, C, H, W) as the images were moved, with nearest-neighbor sampling; integers stay integers."""
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
    """Randomly change images: uint8 (B, H, W, 3) -> float (B, 3, H, W) in 0..1, and how they were moved.

    Args:
        images: on any device.
        params: which changes and how strong.
        generator: of the draws.
        batch, rows: where `images` are the rows `rows` of a larger batch, drawn for as in the whole of it.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"augment takes uint8 images, got {images.dtype}")
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
        middle = x.mean((1, 2, 3), keepdim=True)  # contrast leaves it where it is
        x = x.mul_(contrast * brightness).add_(middle * (1 - contrast) * brightness)
    return x.clamp_(0, 1), Geometry(views, theta, params.border)


def dihedral(x: Tensor, views: Tensor) -> Tensor:
    """Each (C, H, W) image in one of the eight flips and quarter turns; view 0 is the image itself.

    Args:
        x: (B, C, H, W) with H = W.
        views: (B,) integers 0..7: quarter turns `view % 4`, mirrored first where `view >= 4`.
    """
    out = torch.empty_like(x)
    for view in views.unique().tolist():
        # Positions, not a mask: a GPU would be asked how many.
        chosen = to_device((views == view).nonzero()[:, 0], x.device)
        part = x[chosen]
        part = part.flip(3) if view >= 4 else part
        out[chosen] = part.rot90(view % 4, (2, 3))
    return out


def _flips(rng: PerSampleRng, probability: float) -> Tensor:
    """(rows,) dihedral views that flip horizontally and, independently, vertically with `probability`."""
    horizontal, vertical = rng.bernoulli(probability), rng.bernoulli(probability)
    # View 4 is the horizontal flip, 2 the half turn (both flips), 6 the two together (the vertical flip).
    return (4 * (horizontal != vertical) + 2 * vertical).long()


def _affine_maps(params: AugmentParams, rng: PerSampleRng, views: Tensor | None) -> Tensor:
    """(rows, 2, 3) where each pixel comes from: zoom, turn and shift, then the view, as one affine map of (x, y)."""
    applied = rng.bernoulli(params.affine_probability)
    angle = rng.uniform(1, math.radians(params.rotate))[:, 0] * applied
    zoom = 1 / (1 + rng.uniform(1, params.scale)[:, 0] * applied)
    shift = rng.uniform(2, 2 * params.shift) * applied[:, None]  # a side is 2 long in grid units
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    theta = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], 1).view(-1, 2, 3)
    return theta if views is None else DIHEDRAL_MAPS[views] @ theta


def _resample(x: Tensor, theta: Tensor, border: Border = "reflect", mode: str = "bilinear") -> Tensor:
    """Sample each output pixel of (B, C, H, W) where its affine map (B, 2, 3) points; `border` as in AugmentParams."""
    theta = to_device(theta, x.device)
    grid = x.new_empty(len(x), *x.shape[2:], 2)
    down, across = ((2 * torch.arange(n, device=x.device) + 1) / n - 1 for n in x.shape[2:])
    for axis in range(2):  # one sum a place, where F.affine_grid takes a product of matrices
        rows = theta[:, axis, 1, None] * down + theta[:, axis, 2, None]
        columns = theta[:, axis, 0, None] * across
        torch.add(rows[:, :, None], columns[:, None, :], out=grid[..., axis])
    padding = "zeros" if border == "black" else "reflection"
    return F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=False)


def _jitter_stain(x: Tensor, strength: float, rng: PerSampleRng, grayscale: Tensor | None) -> Tensor:
    """Scale and shift each stain's amount (Tellez et al. 2018, arXiv 1707.06183).

    Leaves `grayscale` images as they are. Writes into `x`, unless some are.
    """
    scale, shift = 1 + rng.uniform(3, strength), rng.uniform(3, strength / 2)
    # Density to amounts, amounts changed, and back: one matrix an image, so that no amounts are written out.
    mixing = to_device(STAIN_BASIS.T @ (scale[:, :, None] * STAIN_INVERSE.T), x.device)
    shifted = to_device(-(shift @ STAIN_BASIS)[:, :, None], x.device)
    light = (x if grayscale is None else x.clone()).clamp_(1 / 255, 1).log_().flatten(2)
    changed = torch.baddbmm(shifted, mixing, light).exp_().view_as(x)
    return changed if grayscale is None else torch.where(grayscale, x, changed)


def _is_grayscale(images: Tensor) -> Tensor | None:
    """(B, 1, 1, 1) which of the uint8 (B, H, W, 3) images have no colour; None where none is."""
    if not images.is_cuda and not _equal_channels(images[:, ::STRIDE, ::STRIDE]).any():  # a GPU would be asked
        return None
    return _equal_channels(images).view(-1, 1, 1, 1)


def _equal_channels(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(3)
    return ((red == green) & (green == blue)).flatten(1).all(1)


def _sample_scalar(x: Tensor, limit: float, probability: float, rng: PerSampleRng) -> Tensor:
    values = rng.uniform(1, limit) * rng.bernoulli(probability)[:, None]
    return to_device(values[:, :, None, None], x.device)

"""Batch augmentation on the device, drawn anew for each image; no image leaves its range.

Everything works on floats in 0..1 made from uint8 here: brightness and contrast cannot clip a 0..255
image to white, the fault that blanked half the training images of CDTM's reference code.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from config.training import AugmentParams
from training.share import EVERY
from training.transfer import onto

# Ruifrok & Johnston 2001: optical density of haematoxylin, eosin and DAB in red, green and blue.
STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))


class Draws:
    """Random numbers for every row of a batch, of which some rows' are taken: who computes a row does not change it.

    Args:
        generator: CPU generator that every draw comes from, so that a run can be repeated.
        batch: number of rows.
        take: those that are wanted.
    """

    def __init__(self, generator: torch.Generator, batch: int, take: slice) -> None:
        self.generator, self.batch, self.take = generator, batch, take

    def integers(self, high: int) -> Tensor:
        """(rows,) in 0..high - 1."""
        return torch.randint(high, (self.batch,), generator=self.generator)[self.take]

    def uniform(self, each: int, limit: float) -> Tensor:
        """(rows, each) in -limit..limit."""
        values = (torch.rand(self.batch * each, generator=self.generator) * 2 - 1) * limit
        return values.view(self.batch, each)[self.take]


def augment(
    images: Tensor,
    params: AugmentParams,
    generator: torch.Generator,
    batch: int | None = None,
    take: slice = EVERY,
) -> Tensor:
    """Randomly changed images: uint8 (B, H, W, 3) -> float (B, 3, H, W) in 0..1.

    Args:
        images: on any device.
        params: which changes and how strong.
        generator: of the draws.
        batch, take: where `images` are the rows `take` of a larger batch, drawn for as in the whole of it.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"augment takes uint8 images, got {images.dtype}")
    draws = Draws(generator, len(images) if batch is None else batch, take)
    x = images.permute(0, 3, 1, 2).float() / 255
    if params.dihedral:
        x = dihedral(x, draws.integers(8))
    if params.shift or params.scale or params.rotate:
        x = _affine(x, params, draws)
    if params.stain:
        x = _stain(x, params.stain, draws)
    if params.contrast or params.brightness:
        contrast = 1 + _each(x, params.contrast, draws) if params.contrast else 1
        brightness = 1 + _each(x, params.brightness, draws) if params.brightness else 1
        middle = x.mean((1, 2, 3), keepdim=True)  # contrast leaves it where it is
        x = torch.addcmul(middle * (1 - contrast) * brightness, x, torch.as_tensor(contrast * brightness))
    return x.clamp_(0, 1)


def dihedral(x: Tensor, views: Tensor) -> Tensor:
    """Each (C, H, W) image in one of the eight flips and quarter turns; view 0 is the image itself.

    Args:
        x: (B, C, H, W) with H = W.
        views: (B,) integers 0..7: quarter turns `view % 4`, mirrored first where `view >= 4`.
    """
    out = torch.empty_like(x)
    for view in views.unique().tolist():
        chosen = onto((views == view).nonzero()[:, 0], x.device)  # places, not a mask: a GPU would be asked how many
        part = x[chosen]
        part = part.flip(3) if view >= 4 else part
        out[chosen] = part.rot90(view % 4, (2, 3))
    return out


def _affine(x: Tensor, params: AugmentParams, draws: Draws) -> Tensor:
    n = len(x)
    angle = draws.uniform(1, math.radians(params.rotate))[:, 0]
    zoom = 1 / (1 + draws.uniform(1, params.scale)[:, 0])
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = angle.cos() * zoom
    theta[:, 0, 1] = -angle.sin() * zoom
    theta[:, 1, 0] = angle.sin() * zoom
    theta[:, :, 2] = draws.uniform(2, 2 * params.shift)  # a side is 2 long in grid units
    grid = F.affine_grid(onto(theta, x.device), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _stain(x: Tensor, strength: float, draws: Draws) -> Tensor:
    """Scales and shifts each stain's amount (Tellez et al. 2018, arXiv 1707.06183); grey images stay as they are."""
    basis = torch.tensor(STAINS)
    inverse = onto(torch.linalg.inv(basis), x.device)  # on the CPU: a GPU would be asked whether there is one
    basis = onto(basis, x.device)
    scale = 1 + onto(draws.uniform(3, strength), x.device)
    shift = onto(draws.uniform(3, strength / 2), x.device)
    # Density to amounts, amounts changed, and back: one matrix an image, so that no amounts are written out.
    mixing = torch.einsum("cs,bs,sd->bdc", inverse, scale, basis)
    light = x.clamp(1 / 255, 1).log_().flatten(2)
    changed = torch.baddbmm(-(shift @ basis)[:, :, None], mixing, light).exp_().view_as(x)
    grey = (x == x[:, :1]).flatten(1).all(1).view(-1, 1, 1, 1)
    return torch.where(grey, x, changed)


def _each(x: Tensor, limit: float, draws: Draws) -> Tensor:
    return onto(draws.uniform(1, limit)[:, :, None, None], x.device)

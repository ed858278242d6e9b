"""Random augmentation of patches: the geometry of image and mask, and the intensities of the image.

The transforms and their order are those of nnU-Net (Isensee et al. 2021, supplementary note 4). Random numbers are
drawn for the complete batch. Each process uses the numbers of its patches.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medtune.tasks.segmentation import VolumeAugmentParams
from medtune.training.augmentation import PerSampleRng

# Random seeds of the noise of a patch are below this number.
SEEDS = 2**31
# Half width of a Gaussian kernel in standard deviations.
REACH = 3


def draw_maps(
    params: VolumeAugmentParams, rng: PerSampleRng, spacing: Sequence[float], is_planar: bool = False
) -> list[np.ndarray | None]:
    """Draw a random rotation about all three axes and a random zoom for each patch.

    Args:
        params: `rotate`, `scale` and `affine_probability` are read.
        rng: source of random numbers.
        spacing: distance of voxels along each axis in mm. Rotations preserve distances in mm, not in voxels.
        is_planar: True for patches of one slice, which rotate about the z axis only.

    Returns:
        For each patch, a matrix (3, 3) from voxels of the patch to voxels of the volume, both relative to the center of
        the patch. None for patches without rotation and zoom.
    """
    applied = rng.bernoulli(params.affine_probability).tolist()
    angles = rng.uniform(3, math.radians(params.rotate)).double().numpy()
    if is_planar:
        angles[:, :2] = 0
    zooms = (1 / (1 + rng.uniform(1, params.scale)[:, 0].double())).tolist()
    if not params.rotate and not params.scale:
        return [None] * len(applied)
    to_mm = np.diag(np.asarray(spacing, np.float64))
    return [
        np.linalg.inv(to_mm) @ _rotation(angle) @ to_mm * zoom if apply else None
        for apply, angle, zoom in zip(applied, angles, zooms, strict=True)
    ]


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Return the product of rotations about the x, y and z axis, (3, 3)."""
    total = np.eye(3)
    for axis, angle in enumerate(angles):
        matrix, (first, second) = np.eye(3), [other for other in range(3) if other != axis]
        matrix[first, first] = matrix[second, second] = math.cos(angle)
        matrix[first, second], matrix[second, first] = -math.sin(angle), math.sin(angle)
        total = total @ matrix
    return total


def source_box(matrix: np.ndarray, center: np.ndarray, patch: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the box of voxels that a transformed patch reads from the volume.

    Args:
        matrix: (3, 3) from `draw_maps`.
        center: (3,) center of the patch in voxels of the volume.
        patch: voxels of the patch per axis.

    Returns:
        First voxel and size of the box, (3,) integers.
    """
    reach = np.abs(matrix) @ ((np.asarray(patch) - 1) / 2)
    first = np.floor(center - reach).astype(np.int64)
    return first, np.ceil(center + reach).astype(np.int64) - first + 1


def resample(box: Tensor, first: np.ndarray, center: np.ndarray, matrix: np.ndarray, patch: Sequence[int],
             nearest: bool = False) -> Tensor:  # fmt: skip
    """Interpolate a transformed patch from the box that it reads.

    Args:
        box: (C, X, Y, Z), the voxels from `source_box`.
        first: first voxel of the box in the volume.
        center: center of the patch in voxels of the volume.
        matrix: from `draw_maps`.
        patch: voxels of the patch per axis.
        nearest: True for nearest-neighbor sampling, for masks. False for linear interpolation.

    Returns:
        (C, *patch), float32.
    """
    size = np.array(box.shape[1:], np.float64)
    # The coordinates of grid_sample are -1 and 1 at the outer edges of the array. The last axis is first.
    linear = matrix * np.asarray(patch, np.float64) / size[:, None]
    shift = (2 * (center - first) + 1) / size - 1
    theta = np.concatenate([linear[::-1, ::-1], shift[::-1, None]], axis=1)
    grid = F.affine_grid(
        torch.tensor(theta[None], dtype=torch.float32, device=box.device), [1, 1, *patch], align_corners=False
    )
    mode = "nearest" if nearest else "bilinear"
    return F.grid_sample(box[None].float(), grid, mode=mode, padding_mode="border", align_corners=False)[0]


def draw_mirrored(rng: PerSampleRng, axes: Sequence[str]) -> list[tuple[int, ...]]:
    """Draw the axes to mirror for each patch, as indices 0..2. Each named axis has the probability 0.5."""
    drawn = [("xyz".index(axis), rng.bernoulli(0.5).tolist()) for axis in axes]
    return [tuple(axis for axis, values in drawn if values[row]) for row in range(len(rng.bernoulli(1)))]


def vary_intensities(images: Tensor, params: VolumeAugmentParams, rng: PerSampleRng) -> Tensor:
    """Add noise, blur, change brightness and contrast, lower the resolution, and change the gamma, in this order.

    Args:
        images: normalized patches (B, C, X, Y, Z), float32, which are changed in place.
        params: strength of each transform.
        rng: source of random numbers.

    Returns:
        The changed patches.
    """

    def draw(limit: float) -> list[float]:
        """Return a value in -limit..limit for each patch, and 0 for patches without the transform."""
        values = rng.uniform(1, limit)[:, 0] * rng.bernoulli(params.intensity_probability)
        return values.tolist() if limit else [0.0] * len(values)

    noise, blur, brightness, contrast, low, gamma = map(
        draw, (params.noise, params.blur, params.brightness, params.contrast, params.low_resolution, params.gamma)
    )
    seeds = rng.integers(SEEDS).tolist()
    for row, image in enumerate(images):
        if noise[row]:
            generator = torch.Generator(image.device).manual_seed(seeds[row])
            image += abs(noise[row]) * torch.randn(image.shape, generator=generator, device=image.device)
        if blur[row]:
            image.copy_(_blurred(image, abs(blur[row])))
        if brightness[row]:
            image += brightness[row]
        if contrast[row]:
            mean = image.mean((1, 2, 3), keepdim=True)
            image.sub_(mean).mul_(1 + contrast[row]).add_(mean)
        if low[row]:
            image.copy_(_low_resolution(image, 1 - abs(low[row])))
        if gamma[row]:
            image.copy_(_with_gamma(image, 1 + gamma[row]))
    return images


def _blurred(image: Tensor, sigma: float) -> Tensor:
    """Convolve an image (C, X, Y, Z) with a Gaussian, with repeated border voxels; `sigma` in voxels."""
    radius = max(1, math.ceil(REACH * sigma))
    distance = torch.arange(-radius, radius + 1, device=image.device)
    kernel = torch.exp(-(distance**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).to(image.dtype)
    for axis in range(3):
        lines = image.movedim(axis + 1, -1)
        padded = F.pad(lines.reshape(-1, 1, lines.shape[-1]), (radius, radius), mode="replicate")
        image = F.conv1d(padded, kernel[None, None]).reshape(lines.shape).movedim(-1, axis + 1)
    return image


def _low_resolution(image: Tensor, share: float) -> Tensor:
    """Sample an image (C, X, Y, Z) at a share of its voxels per axis, and interpolate back to the original size."""
    size = [max(1, round(side * share)) for side in image.shape[1:]]
    small = F.interpolate(image[None], size=size, mode="nearest-exact")
    return F.interpolate(small, size=image.shape[1:], mode="trilinear")[0]


def _with_gamma(image: Tensor, exponent: float) -> Tensor:
    """Scale each channel of (C, X, Y, Z) to 0..1, raise it to a power, and scale it back to its original range."""
    low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
    span = (high - low).clamp_min(1e-7)
    return ((image - low) / span).pow(exponent) * span + low

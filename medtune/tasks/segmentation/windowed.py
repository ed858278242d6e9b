"""Prediction of whole volumes from overlapping windows, on the device of the network.

Windows, weights and padding are those of `medtune.serving.volumes`, so that validation and a bundle agree. The loop
passes patches of the training size and whole volumes to the same network.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from medtune.serving.volumes.windows import Patch, importance, total_weights, window_starts

# Windows per call of the network.
WINDOWS = 4
# Smallest probability, whose logarithm is finite.
TINY = 1e-30


def window_corners(shape: Patch, patch: Patch, overlap: float) -> list[Patch]:
    """List the first voxels of the windows of a volume, in the padded volume (`pad_to_patch`).

    Args:
        shape: voxels of the volume per axis.
        patch: voxels of a window per axis.
        overlap: overlap of neighboring windows, fraction of the window.

    Returns:
        X, Y and Z of each window.
    """
    x, y, z = _axis_starts(shape, patch, overlap)
    return list(itertools.product(x, y, z))


def count_windows(shape: Sequence[int], patch: Patch, overlap: float) -> int:
    """Return the number of windows that cover a volume."""
    return math.prod(map(len, _axis_starts(shape, patch, overlap)))


def window_corner(shape: Sequence[int], patch: Patch, overlap: float, number: int) -> Patch:
    """Return the window of a number in `window_corners`, without listing the others."""
    starts = _axis_starts(shape, patch, overlap)
    positions = np.unravel_index(number, [len(axis) for axis in starts])
    x, y, z = (axis[int(position)] for axis, position in zip(starts, positions, strict=True))
    return x, y, z


def _axis_starts(shape: Sequence[int], patch: Patch, overlap: float) -> list[list[int]]:
    return [window_starts(max(length, side), side, overlap) for length, side in zip(shape, patch, strict=True)]


def predict_volume(
    volume: Tensor, run: Callable[[Tensor, slice], Tensor], patch: Patch, overlap: float, batch: int = WINDOWS
) -> Tensor:
    """Average the class probabilities of overlapping windows with Gaussian weights.

    Args:
        volume: normalized volume (C, X, Y, Z).
        run: maps windows (B, C, *patch) and their numbers in `window_corners` to logits (B, K, *patch).
        patch: voxels of a window per axis.
        overlap: overlap of neighboring windows, fraction of the window.
        batch: largest B.

    Returns:
        Probabilities (K, X, Y, Z), float32.
    """
    x, y, z = volume.shape[1:]
    missing = [max(0, side - length) for side, length in zip(patch, (x, y, z), strict=True)]
    before = [total // 2 for total in missing]
    sides = [side for total, first in zip(missing, before, strict=True) for side in (total - first, first)]
    padded = pad(volume, sides[::-1])
    corners = window_corners((x, y, z), patch, overlap)
    weights = torch.from_numpy(importance(patch)).to(volume.device)
    sums: Tensor | None = None
    for first in range(0, len(corners), batch):
        numbers = slice(first, min(first + batch, len(corners)))
        windows = torch.stack([padded[_box(corner, patch)] for corner in corners[numbers]])
        probabilities = run(windows, numbers).float().softmax(1) * weights
        if sums is None:
            sums = probabilities.new_zeros(probabilities.shape[1], *padded.shape[1:])
        for corner, part in zip(corners[numbers], probabilities, strict=True):
            sums[_box(corner, patch)] += part
    assert sums is not None
    starts = _axis_starts((x, y, z), patch, overlap)
    total_x, total_y, total_z = (
        torch.from_numpy(total_weights(axis, side)).to(volume.device) for axis, side in zip(starts, patch, strict=True)
    )
    sums /= total_x[:, None, None] * total_y[:, None] * total_z
    return sums[_box((before[0], before[1], before[2]), (x, y, z))]


def _box(first: Patch, size: Patch) -> tuple[slice, ...]:
    return (slice(None), *(slice(start, start + side) for start, side in zip(first, size, strict=True)))


class WindowedNetwork(nn.Module):
    """Network of patches that also maps whole volumes to the logarithms of their averaged probabilities.

    Attributes:
        model: maps patches (B, C, *patch) to logits (B, K, *patch).
    """

    def __init__(self, model: nn.Module, patch: Patch, overlap: float) -> None:
        super().__init__()
        self.model, self.patch, self.overlap = model, patch, overlap

    @property
    def head(self) -> nn.Module:
        """Head of the network, for its learning rate."""
        head = self.model.head
        assert isinstance(head, nn.Module)
        return head

    def forward(self, volumes: Tensor) -> Tensor:
        """Compute logits.

        With gradients, a volume is cut to a patch, because the graph of all windows could exceed the memory. Only
        distributed training does this, to find parameters without a gradient.

        Args:
            volumes: patches or whole volumes (B, C, X, Y, Z), normalized.

        Returns:
            Logits (B, K, X, Y, Z).
        """
        if tuple(volumes.shape[2:]) == self.patch or torch.is_grad_enabled():
            logits: Tensor = self.model(cut_to_patch(volumes, self.patch))
            return logits
        maps = [
            predict_volume(volume, lambda windows, _: self.model(windows), self.patch, self.overlap)
            for volume in volumes
        ]
        # A batch of one needs no copy of a map that may have gigabytes.
        return (maps[0][None] if len(maps) == 1 else torch.stack(maps)).clamp_min_(TINY).log_()


def cut_to_patch(volumes: Tensor, patch: Patch) -> Tensor:
    """Cut the first patch out of volumes (B, C, X, Y, Z), with zeros behind the end of shorter axes."""
    if tuple(volumes.shape[2:]) == patch:
        return volumes
    x, y, z = patch
    part = volumes[:, :, :x, :y, :z]
    return pad(part, (0, z - part.shape[4], 0, y - part.shape[3], 0, x - part.shape[2]))

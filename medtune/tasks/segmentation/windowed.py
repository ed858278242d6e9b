"""Prediction of whole volumes from overlapping windows, on the device of the network.

Windows, weights and padding are those of `medtune.serving.volumes`, so validation and a bundle (an exported model)
agree. The training loop passes patches and whole volumes to the same network. The probabilities of a volume are
computed in slabs (planes along the first axis). Their memory does not depend on the length of this axis.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from medtune.serving.volumes.windows import Patch, importance, total_weights, window_starts

# Windows per call of the network.
WINDOWS = 4
# Planes of a slab. Fewer planes need less memory for intermediate results.
PLANES = 8
# Smaller probabilities are replaced by this one, because the logarithm of 0 is not finite.
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
    """Return the first voxel of window `number` in `window_corners`."""
    starts = _axis_starts(shape, patch, overlap)
    positions = np.unravel_index(number, [len(axis) for axis in starts])
    x, y, z = (axis[int(position)] for axis, position in zip(starts, positions, strict=True))
    return x, y, z


def _axis_starts(shape: Sequence[int], patch: Patch, overlap: float) -> list[list[int]]:
    """Return the first indices of the windows along each axis, in the padded volume."""
    return [window_starts(max(length, side), side, overlap) for length, side in zip(shape, patch, strict=True)]


def predict_slabs(
    volume: Tensor, run: Callable[[Tensor, slice], Tensor], patch: Patch, overlap: float, batch: int = WINDOWS
) -> Iterator[tuple[int, Tensor]]:
    """Average the class probabilities of overlapping windows with Gaussian weights, slab by slab.

    A slab has at most `PLANES` planes, and is finished when no later window covers it. Only the planes that the current
    windows cover are in memory.

    Args:
        volume: normalized volume (C, X, Y, Z).
        run: maps windows (B, C, *patch) and their numbers in `window_corners` to logits (B, K, *patch).
        patch: voxels of a window per axis.
        overlap: overlap of neighboring windows, fraction of the window.
        batch: largest number B of windows per call of `run`.

    Yields:
        First plane of each slab, ascending, and its probabilities (K, planes, Y, Z), float32.
    """
    x, y, z = volume.shape[1:]
    missing = [max(0, side - length) for side, length in zip(patch, (x, y, z), strict=True)]
    before = [total // 2 for total in missing]
    sides = [side for total, first in zip(missing, before, strict=True) for side in (total - first, first)]
    padded = pad(volume, sides[::-1]) if any(missing) else volume
    corners = window_corners((x, y, z), patch, overlap)
    weights = torch.from_numpy(importance(patch)).to(volume.device)
    total_x, total_y, total_z = (
        torch.from_numpy(total_weights(axis, side)).to(volume.device)
        for axis, side in zip(_axis_starts((x, y, z), patch, overlap), patch, strict=True)
    )
    in_y, in_z = (slice(start, start + length) for start, length in zip(before[1:], (y, z), strict=True))

    def finish(sums: Tensor, start: int, planes: int) -> Iterator[tuple[int, Tensor]]:
        """Yield the slabs of the first `planes` of `sums`, which begin at plane `start` of the padded volume."""
        first = max(start, before[0])  # planes before the volume are padding
        last = min(start + planes, before[0] + x)
        for plane in range(first, last, PLANES):
            end = min(plane + PLANES, last)
            total = total_x[plane:end, None, None] * total_y[in_y, None] * total_z[in_z]
            yield plane - before[0], sums[:, plane - start : end - start, in_y, in_z] / total

    sums, start = weights.new_zeros(0), 0
    for first in range(0, len(corners), batch):
        numbers = slice(first, min(first + batch, len(corners)))
        windows = torch.stack([padded[_box(corner, patch)] for corner in corners[numbers]])
        probabilities = run(windows, numbers).float().softmax(1) * weights
        if not len(sums):  # weighted sums of the probabilities in the planes of the current windows
            sums = probabilities.new_zeros(probabilities.shape[1], patch[0], *padded.shape[2:])
        for corner, part in zip(corners[numbers], probabilities, strict=True):
            if planes := corner[0] - start:
                yield from finish(sums, start, planes)
                for plane in range(patch[0]):  # one assignment of all planes would copy the overlapping array
                    sums[:, plane] = sums[:, plane + planes] if plane + planes < patch[0] else 0
                start = corner[0]
            sums[_box((0, *corner[1:]), patch)] += part
    yield from finish(sums, start, patch[0])


def _box(first: Patch, size: Patch) -> tuple[slice, ...]:
    """Return the index of a box in all channels."""
    return (slice(None), *(slice(start, start + side) for start, side in zip(first, size, strict=True)))


class VolumeLogits:
    """Logarithms of the averaged probabilities of one volume, computed while they are read."""

    def __init__(self, volume: Tensor, run: Callable[[Tensor, slice], Tensor], patch: Patch, overlap: float) -> None:
        """Store the arguments of `predict_slabs`, and the current settings of autocast for `run`."""
        kind = volume.device.type
        autocast = torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        self._slabs = partial(predict_slabs, volume, autocast(run), patch, overlap)

    def float(self) -> "VolumeLogits":
        """Return the logits themselves, because they are float32."""
        return self

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        """Yield the first plane of each slab, ascending, and its logits (K, planes, Y, Z), float32."""
        for first, probabilities in self._slabs():
            yield first, probabilities.clamp_min_(TINY).log_()


class WindowedNetwork(nn.Module):
    """Network of patches that also maps a whole volume to the logarithms of its averaged probabilities.

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

    def forward(self, volumes: Tensor) -> Tensor | VolumeLogits:
        """Compute logits.

        If gradients are enabled, a volume is cut to a patch, because the graph of all windows could exceed the memory.
        Only distributed training passes a volume with gradients, to find parameters without a gradient.

        Args:
            volumes: patches (B, C, *patch) or a whole volume (1, C, X, Y, Z), normalized.

        Returns:
            Logits (B, K, *patch) of patches. The logits of a whole volume are computed slab by slab.
        """
        if tuple(volumes.shape[2:]) == self.patch or torch.is_grad_enabled():
            logits: Tensor = self.model(cut_to_patch(volumes, self.patch))
            return logits
        (volume,) = volumes
        return VolumeLogits(volume, lambda windows, _: self.model(windows), self.patch, self.overlap)


def cut_to_patch(volumes: Tensor, patch: Patch) -> Tensor:
    """Cut the first patch out of volumes (B, C, X, Y, Z). Shorter axes get zeros at their end."""
    if tuple(volumes.shape[2:]) == patch:
        return volumes
    x, y, z = patch
    part = volumes[:, :, :x, :y, :z]
    return pad(part, (0, z - part.shape[4], 0, y - part.shape[3], 0, x - part.shape[2]))

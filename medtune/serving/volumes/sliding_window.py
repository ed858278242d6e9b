"""Prediction of a volume from overlapping windows with Gaussian weights, in bounded memory.

A window is a box of the size that the network reads. A voxel gets the weighted mean of the probabilities of all windows
that cover it (Isensee et al., nnU-Net, Nature Methods 18:203, 2021). The weight is a product over the axes, and the
windows form a grid. The sum of the weights is therefore a product over the axes too, and needs no array of the volume's
size. Windows are processed along the first axis. A slab is a sequence of planes along this axis. A slab that no later
window covers is finished and leaves the memory.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from medtune.serving.volumes.windows import Patch, importance, pad_to_patch, total_weights, window_starts

# Maps windows, float32 (B, C, *patch), to probabilities (B, n_outputs, *patch).
Run = Callable[[np.ndarray], np.ndarray]
# Gets the first plane of a finished slab and its probabilities, float32 (n_outputs, planes, Y, Z).
OnSlab = Callable[[int, np.ndarray], None]
# Gets the number of finished windows and of all windows.
OnProgress = Callable[[int, int], None]

MAX_LABELS = 256


def predict(
    volume: np.ndarray,
    run: Run,
    patch: Patch,
    overlap: float,
    n_outputs: int,
    batch: int,
    on_slab: OnSlab | None = None,
    on_progress: OnProgress | None = None,
) -> np.ndarray:
    """Predict the label of each voxel.

    The memory holds the labels, and the probabilities of a slab with the thickness of two windows.

    Args:
        volume: normalized volume (C, X, Y, Z).
        run: the network.
        patch: voxels of a window per axis, as in training.
        overlap: overlap of neighboring windows as a fraction of the window, at least 0 and below 1.
        n_outputs: number of classes, at most `MAX_LABELS`.
        batch: largest number of windows per call of `run`.
        on_slab: called with the probabilities of finished slabs, in ascending order.
        on_progress: called after each call of `run`, with the numbers of finished windows and of all windows.

    Returns:
        uint8 (X, Y, Z). A voxel gets the lowest of equally probable classes.

    Raises:
        ValueError: an argument is out of range. Or `run` returns another shape, NaN or infinity.
    """
    if not 0 < n_outputs <= MAX_LABELS:
        raise ValueError(f"{n_outputs} classes: expected 1 to {MAX_LABELS}")
    labels = np.empty(volume.shape[1:], np.uint8)
    for first, probabilities in predict_slabs(volume, run, patch, overlap, n_outputs, batch, on_progress):
        for plane in range(probabilities.shape[1]):
            labels[first + plane] = probabilities[:, plane].argmax(axis=0)
        if on_slab is not None:
            on_slab(first, probabilities)
        del probabilities  # otherwise two slabs are in memory while the next is computed
    return labels


def predict_slabs(
    volume: np.ndarray,
    run: Run,
    patch: Patch,
    overlap: float,
    n_outputs: int,
    batch: int,
    on_progress: OnProgress | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Predict the probabilities of consecutive slabs that together cover the volume.

    Args:
        volume: normalized volume (C, X, Y, Z).
        run: the network.
        patch: voxels of a window per axis, as in training.
        overlap: overlap of neighboring windows as a fraction of the window, at least 0 and below 1.
        n_outputs: number of outputs of the network.
        batch: largest number of windows per call of `run`.
        on_progress: called after each call of `run`, with the numbers of finished windows and of all windows.

    Yields:
        First plane of the slab, and its probabilities, float32 (n_outputs, planes, Y, Z).

    Raises:
        ValueError: an argument is out of range. Or `run` returns another shape, NaN or infinity.
    """
    if volume.ndim != 4 or 0 in volume.shape or n_outputs < 1 or batch < 1:
        raise ValueError(f"volume {volume.shape}, {n_outputs} outputs, batches of {batch}")
    size = volume.shape[1:]
    volume, offset = pad_to_patch(volume, patch)
    grid = [window_starts(length, side, overlap) for length, side in zip(volume.shape[1:], patch, strict=True)]
    totals = [total_weights(starts, side) for starts, side in zip(grid, patch, strict=True)]
    columns, n_windows = list(itertools.product(*grid[1:])), math.prod(map(len, grid))
    y, z = (slice(start, start + length) for start, length in zip(offset[1:], size[1:], strict=True))
    weights, done = importance(patch), 0
    # Weighted sums of the probabilities in the planes of the current window.
    sums = np.zeros((n_outputs, patch[0], *volume.shape[2:]), np.float32)
    for x, following in itertools.pairwise([*grid[0], volume.shape[1]]):
        for number in range(0, len(columns), batch):
            corners = columns[number : number + batch]
            for corner, output in zip(corners, _run(run, volume, x, corners, patch, n_outputs), strict=True):
                sums[_box(corner, patch[1:])] += output * weights
            done += len(corners)
            if on_progress is not None:
                on_progress(done, n_windows)
        finished = min(following - x, patch[0])
        total = totals[0][x : x + finished, None, None] * totals[1][:, None] * totals[2]
        # A padded axis has only one window, so this slab contains all padding of the axis.
        inside = slice(offset[0], min(finished, offset[0] + size[0]))
        yield x, sums[:, inside, y, z] / total[inside, y, z]
        for plane in range(patch[0]):  # one assignment of all planes would copy the overlapping array
            sums[:, plane] = sums[:, plane + finished] if plane + finished < patch[0] else 0


def mirrored(run: Run, axes: Sequence[int]) -> Run:
    """Return a network that averages the outputs for all combinations of mirrored axes.

    Args:
        run: the network.
        axes: axes to mirror, 0 to 2. Use only axes that were mirrored in training.

    Returns:
        The network, which calls `run` 2 ** len(axes) times.
    """
    views = [
        tuple(axis + 2 for axis in view)
        for count in range(len(axes) + 1)
        for view in itertools.combinations(axes, count)
    ]

    def average(windows: np.ndarray) -> np.ndarray:
        total = np.array(run(windows))
        for view in views[1:]:  # the first view mirrors no axis
            total += np.flip(run(np.ascontiguousarray(np.flip(windows, view))), view)
        return np.asarray(total / len(views))

    return average


def _run(
    run: Run, volume: np.ndarray, x: int, corners: Sequence[tuple[int, ...]], patch: Patch, n_outputs: int
) -> np.ndarray:
    """Run the network on the windows at the corners (x, y, z) and check its output (B, n_outputs, *patch)."""
    windows = np.stack([volume[_box((x, *corner), patch)] for corner in corners])
    outputs = run(np.asarray(windows, np.float32))
    expected = (len(corners), n_outputs, *patch)
    if outputs.shape != expected:
        raise ValueError(f"the network returns {outputs.shape}: expected {expected}")
    if not np.isfinite(outputs).all():
        raise ValueError("the network returns NaN or infinity")
    return outputs


def _box(corner: Sequence[int], sides: Sequence[int]) -> tuple[Any, ...]:
    """Return the index of a box (its first corner and the lengths of its sides) along the last axes."""
    return (..., *(slice(start, start + side) for start, side in zip(corner, sides, strict=True)))

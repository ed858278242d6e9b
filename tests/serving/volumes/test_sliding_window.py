"""Sliding window: the identity is unchanged, slabs equal the complete volume, and memory is bounded."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.serving.volumes.sliding_window import mirrored, predict, predict_slabs
from medtune.serving.volumes.windows import importance, pad_to_patch, window_starts

RNG = np.random.default_rng(0)
SHAPES = st.tuples(*[st.integers(1, 11)] * 3)
PATCHES = st.tuples(*[st.integers(1, 6)] * 3)
OVERLAPS = st.sampled_from([0.0, 0.25, 0.5, 0.7])
SEEDS = st.integers(0, 2**32 - 1)


def position_dependent(windows: np.ndarray) -> np.ndarray:
    """Return two outputs that depend on the position in the window, so that wrong weights are visible."""
    ramp = np.linspace(0, 1, windows[0, 0].size, dtype=np.float32).reshape(windows.shape[2:])
    return np.concatenate([windows[:, :1] * ramp, windows[:, :1] + ramp**2], axis=1)


def predict_at_once(volume: np.ndarray, patch: tuple[int, int, int], overlap: float) -> np.ndarray:
    """Return the weighted mean of `position_dependent`, with float64 arrays of the volume's size."""
    padded, offset = pad_to_patch(volume, patch)
    shape = padded.shape[1:]
    sums, weights = np.zeros((2, *shape)), np.zeros(shape)
    grid = [window_starts(length, side, overlap) for length, side in zip(shape, patch, strict=True)]
    for corner in itertools.product(*grid):
        box = tuple(slice(start, start + side) for start, side in zip(corner, patch, strict=True))
        sums[(..., *box)] += position_dependent(padded[(None, ..., *box)])[0] * importance(patch)
        weights[box] += importance(patch)
    inside = tuple(slice(start, start + n) for start, n in zip(offset, volume.shape[1:], strict=True))
    return (sums / weights)[(..., *inside)]


@settings(max_examples=60)
@given(SHAPES, PATCHES, OVERLAPS, st.integers(1, 5), SEEDS)
def test_predict__of_the_identity_is_the_identity(
    shape: tuple[int, int, int], patch: tuple[int, int, int], overlap: float, batch: int, seed: int
) -> None:
    volume = np.random.default_rng(seed).random((3, *shape)).astype(np.float32)
    slabs: list[tuple[int, np.ndarray]] = []
    labels = predict(
        volume, lambda windows: windows, patch, overlap, 3, batch, on_slab=lambda *slab: slabs.append(slab)
    )
    probabilities = np.concatenate([values for _, values in slabs], axis=1)
    assert [first for first, _ in slabs] == np.cumsum([0, *(len(values[0]) for _, values in slabs)])[:-1].tolist()
    np.testing.assert_allclose(probabilities, volume, rtol=1e-5)
    np.testing.assert_array_equal(labels, probabilities.argmax(axis=0))
    assert labels.dtype == np.uint8


@settings(max_examples=60)
@given(SHAPES, PATCHES, OVERLAPS, st.integers(1, 5), SEEDS)
def test_predict_slabs__equal_the_complete_volume(
    shape: tuple[int, int, int], patch: tuple[int, int, int], overlap: float, batch: int, seed: int
) -> None:
    volume = np.random.default_rng(seed).random((1, *shape)).astype(np.float32)
    slabs = [slab for _, slab in predict_slabs(volume, position_dependent, patch, overlap, 2, batch)]
    np.testing.assert_allclose(np.concatenate(slabs, axis=1), predict_at_once(volume, patch, overlap), atol=1e-5)


def test_predict__batches_and_progress() -> None:
    sizes, progress = [], []

    def run(windows: np.ndarray) -> np.ndarray:
        assert windows.dtype == np.float32
        assert windows.shape[1:] == (1, 4, 4, 4)
        sizes.append(len(windows))
        return windows

    volume = RNG.integers(0, 100, (1, 6, 8, 10), dtype=np.int16)
    predict(volume, run, (4, 4, 4), 0.5, 1, 5, on_progress=lambda *counts: progress.append(counts))
    assert sizes == [5, 5, 2] * 2
    assert progress == [(5, 24), (10, 24), (12, 24), (17, 24), (22, 24), (24, 24)]


def test_predict__equal_probabilities_give_the_lowest_label() -> None:
    labels = predict(np.zeros((1, 5, 5, 5)), lambda w: np.repeat(w, 4, axis=1), (3, 3, 3), 0.5, 4, 2)
    np.testing.assert_array_equal(labels, np.zeros((5, 5, 5), np.uint8))


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (lambda windows: windows[:, :, :2], r"the network returns \(2, 1, 2, 3, 3\): expected \(2, 1, 3, 3, 3\)"),
        (lambda windows: windows[:1], "the network returns"),
        (lambda windows: windows * np.float32(np.nan), "the network returns NaN or infinity"),
    ],
)
def test_predict__refuses_outputs(run, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        predict(np.ones((1, 6, 6, 6), np.float32), run, (3, 3, 3), 0.5, 1, 2)


@pytest.mark.parametrize(
    ("shape", "n_outputs", "batch"),
    [((4, 4, 4), 2, 1), ((1, 4, 4, 0), 2, 1), ((1, 4, 4, 4), 0, 1), ((1, 4, 4, 4), 257, 1), ((1, 4, 4, 4), 2, 0)],
)
def test_predict__refuses_arguments(shape: tuple[int, ...], n_outputs: int, batch: int) -> None:
    with pytest.raises(ValueError, match=r"classes: expected|outputs, batches of"):
        predict(np.ones(shape, np.float32), lambda windows: windows, (3, 3, 3), 0.5, n_outputs, batch)


@pytest.mark.parametrize("axes", [(), (0,), (1, 2), (0, 1, 2)])
def test_mirrored__averages_all_views(axes: tuple[int, ...]) -> None:
    windows = RNG.random((2, 1, 4, 3, 2)).astype(np.float32)
    expected = [
        np.flip(position_dependent(np.flip(windows, view)), view)
        for count in range(len(axes) + 1)
        for view in itertools.combinations([axis + 2 for axis in axes], count)
    ]
    result = mirrored(position_dependent, axes)(windows)
    np.testing.assert_allclose(result, np.mean(expected, axis=0), rtol=1e-6)
    flipped = [axis + 2 for axis in axes]
    mirror = mirrored(position_dependent, axes)(np.flip(windows, flipped))
    np.testing.assert_allclose(np.flip(mirror, flipped), result, rtol=1e-6)


def test_predict__memory_does_not_grow_with_the_first_axis() -> None:
    def extra(length: int) -> int:
        volume = np.zeros((1, length, 64, 64), np.float32)
        tracemalloc.start()
        labels = predict(volume, lambda windows: windows.repeat(4, axis=1), (16, 16, 16), 0.5, 4, 2)
        peak = tracemalloc.get_traced_memory()[1] - labels.nbytes
        tracemalloc.stop()
        return peak

    assert extra(160) < 1.1 * extra(48)
    assert extra(160) < 2.5 * 4 * 16 * 64 * 64 * 4

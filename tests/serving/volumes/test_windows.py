"""Windows of a volume: every voxel is covered, and weights are positive."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.serving.volumes.windows import axis_weights, importance, pad_to_patch, total_weights, window_starts

SHAPES = st.tuples(*[st.integers(1, 11)] * 3)
PATCHES = st.tuples(*[st.integers(1, 6)] * 3)


@given(st.integers(1, 300), st.integers(1, 300), st.floats(0, 0.95))
def test_window_starts__cover_every_voxel_with_the_overlap(length: int, patch: int, overlap: float) -> None:
    length = max(length, patch)
    starts = window_starts(length, patch, overlap)
    covered = np.zeros(length, bool)
    for start in starts:
        assert 0 <= start <= length - patch
        covered[start : start + patch] = True
    assert covered.all()
    assert starts == sorted(set(starts))
    for one, two in itertools.pairwise(starts):
        assert two - one == 1 or one + patch - two >= overlap * patch - 1e-6


@pytest.mark.parametrize(
    ("length", "patch", "overlap", "starts"),
    [
        (8, 8, 0.5, [0]),
        (9, 8, 0.5, [0, 1]),
        (16, 8, 0.5, [0, 4, 8]),
        (16, 8, 0.0, [0, 8]),
        (20, 8, 0.5, [0, 4, 8, 12]),
        (110, 64, 0.5, [0, 23, 46]),
        (3, 1, 0.5, [0, 1, 2]),
        (20, 10, 0.8, [0, 2, 4, 6, 8, 10]),
    ],
)
def test_window_starts__examples(length: int, patch: int, overlap: float, starts: list[int]) -> None:
    assert window_starts(length, patch, overlap) == starts


@pytest.mark.parametrize(("length", "patch", "overlap"), [(4, 5, 0.5), (4, 0, 0.5), (4, 2, 1.0), (4, 2, -0.1)])
def test_window_starts__refuses(length: int, patch: int, overlap: float) -> None:
    with pytest.raises(ValueError, match=f"windows of {patch} of {length} voxels"):
        window_starts(length, patch, overlap)


def test_importance__is_gaussian_with_sigma_of_an_eighth() -> None:
    weights = axis_weights(33)
    assert weights[16] == 1
    assert weights[16 + 8] == pytest.approx(np.exp(-((8 / (33 / 8)) ** 2) / 2))
    volume = importance((16, 8, 5))
    assert volume.dtype == np.float32
    assert volume.shape == (16, 8, 5)
    assert volume[3, 6, 1] == pytest.approx(axis_weights(16)[3] * axis_weights(8)[6] * axis_weights(5)[1])


@given(st.tuples(*[st.integers(1, 40)] * 3))
def test_importance__is_positive_and_symmetric(patch: tuple[int, int, int]) -> None:
    weights = importance(patch)
    assert weights.min() > 1e-11
    assert weights.max() <= 1
    np.testing.assert_allclose(weights, np.flip(weights), rtol=1e-6)


@given(SHAPES, PATCHES)
def test_pad_to_patch__keeps_the_volume(shape: tuple[int, int, int], patch: tuple[int, int, int]) -> None:
    volume = np.ones((2, *shape), np.float32)
    padded, offset = pad_to_patch(volume, patch)
    assert all(n == max(old, side) for n, old, side in zip(padded.shape[1:], shape, patch, strict=True))
    assert padded.sum() == volume.sum()
    assert (padded[(..., *(slice(start, start + n) for start, n in zip(offset, shape, strict=True)))] == 1).all()


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 0.9))
def test_total_weights__sum_over_the_windows(length: int, patch: int, overlap: float) -> None:
    length = max(length, patch)
    starts = window_starts(length, patch, overlap)
    weights = axis_weights(patch)
    expected = [sum(weights[i - start] for start in starts if 0 <= i - start < patch) for i in range(length)]
    total = total_weights(starts, patch)
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert total.min() > 3e-4

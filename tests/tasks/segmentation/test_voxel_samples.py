"""Voxel samples: mostly voxels near a label, the same in every run."""

import numpy as np
import pytest

from medtune.tasks.segmentation.voxel_samples import MAX_VALUES, MAX_VOXELS, VoxelSample, select_voxels


def ball(side: int, radius: float) -> np.ndarray:
    distance = np.linalg.norm(np.indices((side,) * 3) - side // 2, axis=0)
    return (distance <= radius).astype(np.uint8)


def test_select__four_fifths_are_near_a_label_and_the_others_anywhere():
    mask = ball(48, 14)
    chosen = select_voxels(mask, 1)
    assert len(chosen) == len(np.unique(chosen)) == MAX_VOXELS
    assert (np.diff(chosen) > 0).all()
    steps = np.abs(np.indices(mask.shape) - 24).reshape(3, -1)
    distance = np.sqrt((steps[:, chosen] ** 2).sum(axis=0))
    assert 8000 <= (distance <= 14 + 3.01).sum() <= 8100  # some of the others are within 3 voxels diagonally
    assert (distance > 20).sum() > 1000
    assert np.array_equal(chosen, select_voxels(mask, 1))


@pytest.mark.parametrize(("mask", "n_labels", "count"), [
    (np.zeros((40, 40, 40), np.uint8), 3, 10_000),  # no label
    (ball(40, 1), 3, 10_000),  # few voxels near the label
    (np.ones((40, 40, 40), np.uint8), 1, 10_000),  # no background
    (ball(8, 2), 1, 512),  # a small volume
    (np.ones((40, 40, 40), np.uint8), 99, MAX_VALUES // 100),  # many labels
])  # fmt: skip
def test_select__takes_other_voxels_where_one_kind_is_rare(mask, n_labels, count):
    chosen = select_voxels(mask, n_labels)
    assert len(np.unique(chosen)) == len(chosen) == count
    if 0 < np.count_nonzero(mask) < 1000:
        assert set(np.flatnonzero(mask)) <= set(chosen.tolist())


def test_nll__is_that_of_the_divided_logits():
    draw = np.random.default_rng(0)
    logits, truth = draw.normal(0, 3, (50, 3)), draw.integers(0, 3, 50).astype(np.uint8)
    exponents = np.exp(logits)
    sample = VoxelSample(truth, (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32))
    for temperature in (0.5, 1.0, 3.0):
        scaled = logits / temperature
        expected = (np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(50), truth]).mean()
        assert sample.nll(temperature) == pytest.approx(expected, rel=1e-5)


def test_nll__of_a_certain_error_is_finite():
    sample = VoxelSample(np.array([1], np.uint8), np.array([[1, 0]], np.float32))
    assert np.isfinite(sample.nll(1.0))
    assert sample.nll(4.0) < sample.nll(1.0)

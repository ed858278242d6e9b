"""Calibration sums of one volume."""

import numpy as np
import pytest

from medtune.tasks.segmentation.calibration_sums import SHAPE, WIDTH, calibration_sums
from medtune.tasks.segmentation.voxel_samples import VoxelSample


def test_sums__count_voxels_confidence_and_correct_voxels_per_bin():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.35, 0.65]], np.float32)
    sums = calibration_sums(VoxelSample(np.array([0, 1, 1, 1], np.uint8), probabilities), 2.0)
    assert sums.shape == (WIDTH,)
    (before, after), (nll_before, nll_after) = sums[:-2].reshape(SHAPE), sums[-2:]
    assert before.sum(axis=1) == pytest.approx([1, (0.9 + 0.9 + 0.6 + 0.65) / 4, 0.75])
    assert np.flatnonzero(before[0]).tolist() == [9, 13]
    assert before[2, 13] == 0.25
    root = np.sqrt(probabilities)
    assert after[1].sum() == pytest.approx((root.max(axis=1) / root.sum(axis=1)).mean(), rel=1e-5)
    assert nll_before == pytest.approx(-np.log([0.9, 0.1, 0.6, 0.65]).mean(), rel=1e-5)
    assert nll_after != nll_before


def test_sums__without_voxels_are_nan():
    empty = VoxelSample(np.empty(0, np.uint8), np.empty((0, 2), np.float32))
    assert np.isnan(calibration_sums(empty, 1.0)).all()

"""Sums over a sample of the voxels of a volume, from which calibration metrics are computed.

The confidence of a voxel is the probability of its predicted label. Bins of equal width group the voxels by confidence.
"""

import numpy as np
import numpy.typing as npt

from medtune.tasks.segmentation.voxel_samples import VoxelSample

Floats = npt.NDArray[np.float64]
BINS = 15
# Axes of the sums: before and after temperature scaling; voxels, confidence and correct voxels; bins.
SHAPE = (2, 3, BINS)
# `SHAPE` flattened, and the negative log-likelihood before and after scaling.
WIDTH = 2 * 3 * BINS + 2


def calibration_sums(sample: VoxelSample, temperature: float) -> Floats:
    """Compute the sums of one volume, divided by the number of sampled voxels.

    Args:
        sample: sampled voxels of the volume.
        temperature: divisor of the logarithms of the probabilities.

    Returns:
        (WIDTH,) the flattened sums (`SHAPE`), then the two mean negative log-likelihoods in nats. NaN without voxels.
    """
    if not len(sample.truth):
        return np.full(WIDTH, np.nan)
    correct = (sample.probabilities.argmax(axis=1) == sample.truth).astype(np.float64)
    ratios = sample.log_probabilities()
    ratios -= ratios.max(axis=1, keepdims=True)
    edges, parts = np.linspace(0, 1, BINS + 1)[1:-1], []
    for value in (1.0, temperature):
        confidence = 1 / np.exp(ratios / value).sum(axis=1)
        index = np.searchsorted(edges, confidence, side="left")
        parts += [np.bincount(index, weights, BINS) for weights in (np.ones_like(correct), confidence, correct)]
    return np.concatenate([np.concatenate(parts) / len(correct), [sample.nll(1.0), sample.nll(temperature)]])

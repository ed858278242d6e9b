"""Sample of the voxels of a volume, with which the probabilities are calibrated.

Most voxels of a volume are background far from every label, and their probabilities are trivial. A sample therefore has
mostly voxels near a label, and few others. Positions are voxels of the network's grid, and the truth is the resampled
mask. The sample of a volume depends only on its mask.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medtune.serving.volumes.confidence import TINY

MAX_VOXELS = 10_000
# Values of a stored sample; fewer voxels with many labels.
MAX_VALUES = 200_000
NEAR_SHARE = 0.8
# Voxels with at most this distance from a label are near it.
NEAR_VOXELS = 3
_SEED = 0


@dataclass(frozen=True, eq=False)
class VoxelSample:
    """Truth and probabilities of some voxels of a volume.

    Attributes:
        truth: (n,) uint8 label numbers, 0 for the background.
        probabilities: (n, K) float32 probabilities before temperature scaling, the background first.
    """

    truth: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float32]

    def log_probabilities(self) -> npt.NDArray[np.float64]:
        """Return the logarithms (n, K) of the probabilities, finite."""
        return np.asarray(np.log(np.maximum(self.probabilities, TINY, dtype=np.float64)))

    def nll(self, temperature: float) -> float:
        """Compute the mean negative log-likelihood of the truth after temperature scaling, in nats."""
        scaled = self.log_probabilities() / temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        truth = scaled[np.arange(len(scaled)), self.truth]
        return float((np.log(np.exp(scaled).sum(axis=1)) - truth).mean())


def select_voxels(mask: npt.NDArray[np.uint8], n_labels: int) -> npt.NDArray[np.int64]:
    """Select the voxels of a sample.

    Args:
        mask: (X, Y, Z) label numbers on the grid of the network.
        n_labels: number of labels without the background.

    Returns:
        (n,) ascending indices of the flattened volume, at most `MAX_VOXELS`. At least four fifths of them are near a
        label if there are enough of such voxels.
    """
    from scipy.ndimage import binary_dilation, generate_binary_structure

    count = min(MAX_VOXELS, MAX_VALUES // (n_labels + 1), mask.size)
    found = mask > 0
    near = found if not found.any() else binary_dilation(found, generate_binary_structure(3, 1), NEAR_VOXELS)
    inside, outside = np.flatnonzero(near), np.flatnonzero(~near)
    few = min(len(inside), round(NEAR_SHARE * count))
    n_outside = min(len(outside), count - few)
    n_inside = min(len(inside), count - n_outside)
    draw = np.random.default_rng(_SEED)
    chosen = [draw.choice(part, size, replace=False) for part, size in ((inside, n_inside), (outside, n_outside))]
    return np.sort(np.concatenate(chosen)).astype(np.int64)

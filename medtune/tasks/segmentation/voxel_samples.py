"""Sample of the voxels of a volume, with which the probabilities are calibrated.

Most voxels of a volume are background far from every label, and their probabilities are trivial. Most voxels of a
sample are therefore near a label. The voxels are those of the network's grid, and the truth is the resampled mask. The
selection depends only on the mask.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medtune.serving.volumes.confidence import TINY

MAX_VOXELS = 10_000
# Largest number of stored probabilities. With many labels, a sample has fewer voxels.
MAX_VALUES = 200_000
NEAR_SHARE = 0.8  # fraction of the sampled voxels that are near a label
# A voxel is near a label if the label is at most this many steps away. A step crosses one face of a voxel.
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
        """Return the logarithms (n, K) of the probabilities, which are finite even for the probability 0."""
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
        label if there are enough such voxels.
    """
    count = min(MAX_VOXELS, MAX_VALUES // (n_labels + 1), mask.size)
    near = _near_labels(mask > 0)
    n_near = int(np.count_nonzero(near))
    n_outside = min(mask.size - n_near, count - min(n_near, round(NEAR_SHARE * count)))
    draw = np.random.default_rng(_SEED)
    chosen = [_draw(draw, near, min(n_near, count - n_outside)), _draw(draw, ~near, n_outside)]
    return np.sort(np.concatenate(chosen))


def _near_labels(labeled: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the voxels that are at most `NEAR_VOXELS` steps away from a label, (X, Y, Z)."""
    from scipy.ndimage import binary_dilation, generate_binary_structure

    near, box = np.zeros_like(labeled), []
    for axis in range(3):
        used = np.flatnonzero(labeled.any(axis=tuple({0, 1, 2} - {axis})))
        if not len(used):
            return near
        box.append(slice(max(0, int(used[0]) - NEAR_VOXELS), int(used[-1]) + NEAR_VOXELS + 1))
    near[tuple(box)] = binary_dilation(labeled[tuple(box)], generate_binary_structure(3, 1), NEAR_VOXELS)
    return near


def _draw(draw: np.random.Generator, allowed: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.int64]:
    """Draw different indices (count,) of allowed voxels. A list of all indices would need a lot of memory."""
    ends = np.cumsum([np.count_nonzero(plane) for plane in allowed])
    ranks = np.sort(draw.choice(int(ends[-1]), count, replace=False))
    size, parts = allowed[0].size, []
    for plane, part in enumerate(np.split(ranks, np.searchsorted(ranks, ends[:-1]))):
        if len(part):
            first = int(ends[plane - 1]) if plane else 0
            parts.append(plane * size + np.flatnonzero(allowed[plane])[part - first])
    return np.concatenate([np.empty(0, np.int64), *parts])

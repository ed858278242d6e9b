"""Voxel sample and uncertainty of a volume, recorded while its slabs are predicted."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medtune.serving.volumes.confidence import log_ratios, scaled_confidence
from medtune.serving.volumes.pipeline import Segmentation
from medtune.tasks.segmentation.temperature_grid import NODES, TEMPERATURES, at_temperature
from medtune.tasks.segmentation.voxel_samples import VoxelSample, select_voxels


@dataclass(frozen=True, eq=False)
class RecordedSegmentation(Segmentation):
    """Label map with the values that temperature scaling needs. `uncertainty` holds for the temperature 1.

    Attributes:
        uncertainties: (NODES, labels) uncertainty of each label at `TEMPERATURES`.
        voxels: sample of the voxels.
    """

    uncertainties: npt.NDArray[np.float64]
    voxels: VoxelSample

    def uncertainty_at(self, temperature: float) -> tuple[float, ...]:
        """Return the uncertainty of each label at a temperature, NaN for a label that was not predicted."""
        if temperature == 1:
            return self.uncertainty
        return tuple(at_temperature(self.uncertainties, temperature).tolist())


class SlabRecorder:
    """Argument `on_slab` of `segment`, which records the probabilities of each slab."""

    def __init__(self, mask: npt.NDArray[np.uint8], n_labels: int) -> None:
        """Select the voxels of the sample.

        Args:
            mask: (X, Y, Z) true mask on the grid of the network.
            n_labels: number of labels without the background.
        """
        mask = np.asarray(mask)
        self._plane, self._classes = mask[0].size, n_labels + 1
        self._voxels = select_voxels(mask, n_labels)
        self._truth = mask.reshape(-1)[self._voxels]
        self._probabilities = np.empty((len(self._voxels), self._classes), np.float32)
        self._doubt, self._count = np.zeros((NODES, self._classes)), np.zeros(self._classes)

    def __call__(self, first: int, probabilities: np.ndarray) -> None:
        """Record the probabilities (K, planes, Y, Z) of the slab from plane `first` on."""
        for plane in range(probabilities.shape[1]):
            values = probabilities[:, plane].reshape(self._classes, -1)
            start = (first + plane) * self._plane
            low, high = np.searchsorted(self._voxels, (start, start + self._plane))
            self._probabilities[low:high] = values[:, self._voxels[low:high] - start].T
            labels = values.argmax(axis=0)
            found = labels > 0  # the background has no uncertainty
            labels, ratios = labels[found], log_ratios(values[:, found])
            self._count += np.bincount(labels, minlength=self._classes)
            for node, temperature in enumerate(TEMPERATURES):
                doubt = 1 - scaled_confidence(ratios, temperature)
                self._doubt[node] += np.bincount(labels, doubt, self._classes)

    def result(self, segmentation: Segmentation) -> RecordedSegmentation:
        """Return a label map with the recorded values of its volume."""
        mean = np.divide(self._doubt, self._count, out=np.full_like(self._doubt, np.nan), where=self._count > 0)
        sample = VoxelSample(self._truth, self._probabilities)
        labels, uncertainty, features = segmentation.labels, segmentation.uncertainty, segmentation.features
        return RecordedSegmentation(labels, uncertainty, mean[:, 1:], sample, features=features)

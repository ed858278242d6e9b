"""Source of batches of random patches and their masks, augmented on the device."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medtune.data.manifest import PreparedDataset
from medtune.runtime import distributed
from medtune.serving.volumes.windows import Patch
from medtune.tasks.base import SpatialTransform
from medtune.tasks.segmentation import Params as TaskParams
from medtune.tasks.segmentation.augmentation import draw_maps, draw_mirrored, resample, source_box, vary_intensities
from medtune.tasks.segmentation.objective import IGNORED
from medtune.tasks.segmentation.patch_positions import PatchPositions, read_box
from medtune.training.augmentation import PerSampleRng
from medtune.training.replicas import ALL_ROWS
from medtune.training.schedule import epoch_order
from medtune.training.transfer import to_device


@dataclass(frozen=True)
class PatchMasks:
    """Spatial transform that replaces the rows of volumes by the masks (B, X, Y, Z), uint8, of their patches."""

    masks: Tensor

    def __call__(self, target: Tensor) -> Tensor:
        """Return the masks."""
        return self.masks


def patch_masks(masks: Tensor, batch: int) -> PatchMasks:
    """Return the masks of the patches that this process computes.

    Args:
        masks: (B, X, Y, Z), uint8, changed in place.
        batch: number of patches in the complete batch. If there are more processes than patches, the voxels of the
            additional processes are ignored.

    Returns:
        The spatial transform.
    """
    if distributed.world_size() > 1 and distributed.rank() >= batch:
        masks.fill_(IGNORED)
    return PatchMasks(masks)


class PatchSource:
    """Random patches for training, and whole volumes for validation."""

    def __init__(self, prepared: PreparedDataset, patch: Patch, params: TaskParams, device: torch.device) -> None:
        """Open the prepared volumes.

        Args:
            prepared: prepared volumes.
            patch: voxels of a patch per axis.
            params: params of the task, with the share of patches on a label and the augmentation.
            device: torch device of the patches.
        """
        self.volumes, self.patch, self.params, self.device = prepared.volumes, patch, params, device
        self.spacing = prepared.info["volumes"]["spacing"]
        self.positions = PatchPositions(prepared.volumes, patch, len(prepared.classes))

    def train(
        self, indices: npt.NDArray[Any], generator: torch.Generator, selected: slice = ALL_ROWS
    ) -> tuple[Tensor, SpatialTransform]:
        """Load augmented patches and their masks.

        Args:
            indices: rows of the volumes of the complete batch.
            generator: source of random numbers.
            selected: part of the batch that this process loads.

        Returns:
            Patches (B, C, *patch), float32, and the transform that returns their masks.
        """
        rng = PerSampleRng(generator, len(indices), selected)
        starts = self._draw_starts(indices, rng)
        options = self.params.augment
        maps = draw_maps(options, rng, self.spacing, is_planar=self.patch[2] == 1)
        mirrored = draw_mirrored(rng, options.mirror)
        patches = [
            self._cut(int(row), start, matrix, axes)
            for row, start, matrix, axes in zip(indices[selected], starts, maps, mirrored, strict=True)
        ]
        images = torch.stack([image for image, _ in patches])
        masks = torch.stack([mask for _, mask in patches])
        return vary_intensities(images, options, rng), patch_masks(masks, len(indices))

    def score(self, indices: npt.NDArray[Any]) -> Tensor:
        """Load whole volumes (B, C, X, Y, Z), float32. All volumes of `indices` must have the same shape."""
        return torch.stack([self._copy(np.array(self.volumes.image(int(row)))).float() for row in indices])

    def labeled(self, indices: npt.NDArray[Any], seed: int, size: int = 8) -> Iterator[tuple[Tensor, Tensor]]:
        """Load one patch of each volume, without augmentation, in random order.

        Args:
            indices: rows of volumes.
            seed: seed of the order and of the patches.
            size: batch size B.

        Yields:
            Patches (B, C, *patch), and masks (B, *patch), int64.
        """
        generator = torch.Generator().manual_seed(seed)
        order = epoch_order(indices, generator)
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            starts = self._draw_starts(rows, PerSampleRng(generator, len(rows), ALL_ROWS))
            patches = [self._cut(int(row), start, None, ()) for row, start in zip(rows, starts, strict=True)]
            yield torch.stack([image for image, _ in patches]), torch.stack([mask for _, mask in patches]).long()

    def _draw_starts(self, indices: npt.NDArray[Any], rng: PerSampleRng) -> list[Patch]:
        """Draw the first voxels of the patches that this process computes."""
        numbers = ((rng.uniform(4, 1) + 1) / 2).tolist()
        on_label = rng.bernoulli(self.params.foreground_share).tolist()
        # The labels take turns within the batch. The first label is random.
        first = torch.randint(1 << 16, (), generator=rng.generator)
        turns = (first + torch.arange(rng.batch)[rng.rows]).tolist()
        starts = []
        for row, (number, *place), centered, turn in zip(indices[rng.rows], numbers, on_label, turns, strict=True):
            start = self.positions.on_label(int(row), turn, number) if centered else None
            starts.append(self.positions.anywhere(int(row), place) if start is None else start)
        return starts

    def _cut(
        self, row: int, start: Patch, matrix: npt.NDArray[Any] | None, mirrored: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Return a patch (C, *patch), float32, and its mask (*patch), uint8, on the device.

        Args:
            row: row of the volume.
            start: first voxel of the patch.
            matrix: from `draw_maps`.
            mirrored: axes to mirror, 0..2.
        """
        stored, truth = self.volumes.image(row), self.volumes.mask(row)
        if matrix is None:
            image = self._copy(read_box(stored, start, self.patch)).float()
            mask = self._copy(read_box(truth, start, self.patch))
        else:
            center = np.array(start) + (np.array(self.patch) - 1) / 2
            first, size = source_box(matrix, center, self.patch)
            box, labels = (self._copy(read_box(array, first.tolist(), size.tolist())) for array in (stored, truth))
            image = resample(box, first, center, matrix, self.patch)
            mask = resample(labels[None], first, center, matrix, self.patch, nearest=True)[0].to(torch.uint8)
        return image.flip([axis + 1 for axis in mirrored]), mask.flip(mirrored)

    def _copy(self, array: npt.NDArray[Any]) -> Tensor:
        return to_device(torch.from_numpy(array), self.device)

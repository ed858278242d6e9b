"""Preparation and writing of all volumes, with one volume in memory at a time."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from medtune.data.volume_inspection import VolumeFacts
from medtune.data.volume_reading import LabeledVolume
from medtune.data.volume_store import VolumeEntry, write_volumes
from medtune.runtime.progress import progress
from medtune.serving.volumes.pipeline import Preparation
from medtune.serving.volumes.resampling import resample_mask, thick_axis


def pack_volumes(
    folder: Path,
    facts: Sequence[VolumeFacts],
    read: Callable[[int], LabeledVolume],
    preparation: Preparation,
    unit: str = "volumes",
) -> tuple[str, ...]:
    """Normalize and resample all volumes and write them in the layout of `medtune.data.volume_store.VolumeStore`.

    Args:
        folder: existing folder.
        facts: properties of each volume.
        read: reads a volume by its index.
        preparation: normalization and spacing.
        unit: plural word for the volumes in messages.

    Returns:
        One hexadecimal digest per volume. It covers the prepared volume, its mask, and the mask on the grid of the
        file.

    Raises:
        DecodeError: a volume cannot be read or normalized.
    """
    digests = []
    with (
        write_volumes(folder, len(preparation.intensity)) as writer,
        progress("prepare", len(facts), unit) as advance,
    ):
        for row, fact in enumerate(facts):
            volume = read(row)
            image = preparation.apply(volume.image, volume.spacing)
            x, y, z = image.shape[1:]
            mask = resample_mask(volume.mask, (x, y, z), thick_axis(volume.spacing, preparation.spacing))
            entry = VolumeEntry(
                shape=(x, y, z),
                original_shape=fact.shape,
                spacing=fact.spacing,
                affine=fact.affine,
                orientation=fact.orientation,
                voxels=fact.voxels,
                quantiles=fact.quantiles,
            )
            truth = np.ascontiguousarray(volume.mask)
            writer.add(image, mask, truth, entry)
            digest = hashlib.sha256()
            for array in (image, mask, truth):
                digest.update(np.ascontiguousarray(array).data)
            digests.append(digest.hexdigest())
            advance()
    return tuple(digests)

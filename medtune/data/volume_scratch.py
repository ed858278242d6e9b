"""Decoded volumes on disk, so that stage data decodes each file only once.

Stage data reads a volume up to three times: for the inspection, for the rule `foreground`, and for the preparation.
Decoded volumes may not fit into memory. They are therefore written to memory-mapped files, as long as the disk has
enough space. Later volumes are decoded at each reading. NIfTI files without compression are also decoded at each
reading, because this is fast.
"""

import os
import shutil
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medtune.data.sample import Sample
from medtune.data.volume_files import VolumeFiles
from medtune.data.volume_reading import LabeledVolume

# Fraction of the free disk space that decoded volumes may use.
DISK_SHARE = 0.5
# Suffix of NIfTI files without compression.
FAST_SUFFIX = ".nii"


@dataclass(frozen=True, eq=False)
class _Kept:
    """A decoded volume (`LabeledVolume`) on the disk. `size` is that of both arrays in bytes."""

    image: Path
    mask: Path
    affine: np.ndarray
    orientation: str
    size: int

    def open(self) -> LabeledVolume:
        """Map the arrays into memory."""
        image, mask = (np.asarray(np.load(path, mmap_mode="r")) for path in (self.image, self.mask))
        return LabeledVolume(image, mask, self.affine, self.orientation)


class VolumeScratch:
    """Reader that keeps decoded volumes in a folder. The folder is removed together with this object."""

    def __init__(self, folder: Path, decode: Callable[[VolumeFiles], LabeledVolume], budget: int | None = None) -> None:
        """Create the folder.

        Args:
            folder: folder to create. It must not exist.
            decode: reads a volume from its files.
            budget: maximum size of all kept volumes in bytes; None: `DISK_SHARE` of the free disk space.
        """
        folder.mkdir(parents=True)
        self._folder, self._decode = folder, decode
        self._free = int(shutil.disk_usage(folder).free * DISK_SHARE) if budget is None else budget
        self._kept: dict[str, _Kept] = {}
        self._number = 0
        self._remove = weakref.finalize(self, _remove, folder, os.getpid())

    def read(self, sample: Sample) -> LabeledVolume:
        """Read a volume, from the disk if it was decoded before.

        Args:
            sample: a volume, whose path identifies it.

        Returns:
            The volume. Its arrays are read-only if they are memory-mapped.

        Raises:
            DecodeError: a file cannot be used.
        """
        if (kept := self._kept.get(sample.path)) is not None:
            return kept.open()
        assert sample.volume is not None  # checked by the task
        volume = self._decode(sample.volume)
        size = volume.image.nbytes + volume.mask.nbytes
        if not _is_fast(sample.volume) and size <= self._free:
            self._keep(sample.path, volume, size)
        return volume

    def read_last(self, sample: Sample) -> LabeledVolume:
        """Read a volume and remove it from the disk. Its arrays keep the removed files open."""
        kept = self._kept.pop(sample.path, None)
        if kept is None:
            assert sample.volume is not None  # checked by the task
            return self._decode(sample.volume)
        volume = kept.open()
        self._free += kept.size
        kept.image.unlink()
        kept.mask.unlink()
        return volume

    def close(self) -> None:
        """Remove the folder."""
        self._kept.clear()
        self._remove()

    def _keep(self, path: str, volume: LabeledVolume, size: int) -> None:
        """Write a decoded volume to the disk. If the disk is full, keep no further volumes."""
        name, self._number = self._number, self._number + 1
        kept = _Kept(
            self._folder / f"{name}.image.npy",
            self._folder / f"{name}.mask.npy",
            volume.affine,
            volume.orientation,
            size,
        )
        try:
            np.save(kept.image, volume.image)
            np.save(kept.mask, volume.mask)
        except OSError:  # the disk is full, so `read` decodes the files again
            kept.image.unlink(missing_ok=True)
            kept.mask.unlink(missing_ok=True)
            self._free = 0
            return
        self._free -= size
        self._kept[path] = kept


def _is_fast(files: VolumeFiles) -> bool:
    """Return True if all channels are NIfTI files without compression."""
    return bool(files.channels) and all(path.name.lower().endswith(FAST_SUFFIX) for path in files.channels)


def _remove(folder: Path, owner: int) -> None:
    """Remove a folder if this is the process `owner`, not a forked one."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)

"""Storage of the prepared volumes, whose shapes differ, in four files of the folder data/prepared.

`volumes.npy` contains the normalized and resampled images of all volumes, one after another, as float16. `masks.npy`
contains their masks on the same grids, as uint8. `truth.npy` contains the masks on the grids of the files, in RAS
(axes to the right, front and head), with which metrics are computed. `volumes.json` describes each volume.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.errors import InputError
from medtune.runtime.artifact import write_text
from medtune.serving.one_line import first_line

IMAGES_FILE, MASKS_FILE, TRUTH_FILE, INDEX_FILE = "volumes.npy", "masks.npy", "truth.npy", "volumes.json"
DTYPES = {IMAGES_FILE: "<f2", MASKS_FILE: "|u1", TRUTH_FILE: "|u1"}
HEADER = 128  # bytes of the header of an .npy file of one axis


@dataclass(frozen=True)
class VolumeEntry:
    """Shapes and geometry of one prepared volume.

    Attributes:
        shape: voxels per axis after resampling, in RAS.
        original_shape: voxels per axis of the file, in RAS.
        spacing: mm per voxel of the file along the RAS axes.
        affine: (4, 4), maps voxel indices of the file in RAS to mm.
        orientation: orientation of the axes in the file, for example LPS.
        voxels: number of voxels of each label on the grid of the file, without the background.
        quantiles: percentiles 5, 25, 50, 75 and 95 of the values of each channel in the file.
    """

    shape: tuple[int, int, int]
    original_shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    affine: tuple[tuple[float, ...], ...]
    orientation: str
    voxels: tuple[int, ...]
    quantiles: tuple[tuple[float, ...], ...]


class VolumeStore:
    """Reader of the prepared volumes.

    Attributes:
        folder: folder of the files.
        channels: number of channels of every volume.
        entries: one per volume, in the order of manifest.csv.
    """

    def __init__(self, folder: Path) -> None:
        """Read volumes.json. The first access to an array opens the other files and can also raise InputError.

        Args:
            folder: folder of the files.

        Raises:
            InputError: volumes.json is missing or invalid.
        """
        self.folder = folder
        try:
            content = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
            self.channels = int(content["channels"])
            self.entries = tuple(VolumeEntry(**entry) for entry in content["volumes"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder / INDEX_FILE} is not valid: {first_line(error)}. Run `medtune data`") from None
        sizes = np.array([np.prod(entry.shape, dtype=np.int64) for entry in self.entries])
        originals = np.array([np.prod(entry.original_shape, dtype=np.int64) for entry in self.entries])
        self._ends = {
            IMAGES_FILE: np.cumsum(sizes * self.channels),
            MASKS_FILE: np.cumsum(sizes),
            TRUTH_FILE: np.cumsum(originals),
        }

    def __len__(self) -> int:
        """Number of volumes."""
        return len(self.entries)

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        """The memory-mapped array of each file. Raises InputError if a file does not fit volumes.json."""
        arrays: dict[str, np.ndarray] = {}
        for name, ends in self._ends.items():
            path = self.folder / name
            try:
                array = np.lib.format.open_memmap(path, mode="r")
            except Exception as error:  # numpy parses the header as Python code, so any error is possible
                raise InputError(f"{path} is not a valid array: {first_line(error)}. Run `medtune data`") from None
            if array.dtype != np.dtype(DTYPES[name]) or array.shape != (int(ends[-1]),):
                raise InputError(f"{path} is {array.dtype} {array.shape}; expected {DTYPES[name]} ({ends[-1]},). "
                                 "Run `medtune data`")  # fmt: skip
            arrays[name] = array
        return arrays

    def image(self, row: int) -> np.ndarray:
        """Return the normalized and resampled image of a volume, float16 (C, X, Y, Z)."""
        return self._read(IMAGES_FILE, row, (self.channels, *self.entries[row].shape))

    def mask(self, row: int) -> np.ndarray:
        """Return the mask on the grid of `image`, uint8 (X, Y, Z)."""
        return self._read(MASKS_FILE, row, self.entries[row].shape)

    def truth(self, row: int) -> np.ndarray:
        """Return the mask on the grid of the file in RAS, uint8 (X, Y, Z)."""
        return self._read(TRUTH_FILE, row, self.entries[row].original_shape)

    def _read(self, name: str, row: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return the part of a file that belongs to the volume `row`, in its shape."""
        start = int(self._ends[name][row - 1]) if row else 0
        return self._arrays[name][start : int(self._ends[name][row])].reshape(shape)


class VolumeWriter:
    """Writer of the prepared volumes, one volume after another. `write_volumes` creates it."""

    def __init__(self, streams: dict[str, Any], channels: int) -> None:
        self._streams, self.channels = streams, channels
        self.entries: list[VolumeEntry] = []

    def add(self, image: np.ndarray, mask: np.ndarray, truth: np.ndarray, entry: VolumeEntry) -> None:
        """Append a volume.

        Args:
            image: float16 (C, X, Y, Z), from `Preparation.apply`.
            mask: uint8 (X, Y, Z), resampled.
            truth: uint8 (X, Y, Z) on the grid of the file in RAS.
            entry: shapes and geometry.

        Raises:
            ValueError: an array has another type or shape than `entry` states.
        """
        arrays = {IMAGES_FILE: image, MASKS_FILE: mask, TRUTH_FILE: truth}
        shapes = ((self.channels, *entry.shape), entry.shape, entry.original_shape)
        for (name, array), shape in zip(arrays.items(), shapes, strict=True):
            if array.dtype != np.dtype(DTYPES[name]) or array.shape != tuple(shape):
                raise ValueError(f"{name}: {array.dtype} {array.shape}, expected {DTYPES[name]} {shape}")
        for name, array in arrays.items():
            self._streams[name].write(np.ascontiguousarray(array).data)
        self.entries.append(entry)


@contextmanager
def write_volumes(folder: Path, channels: int) -> Iterator[VolumeWriter]:
    """Write the prepared volumes to `folder`, with one volume in memory at a time.

    Args:
        folder: existing folder.
        channels: number of channels of every volume.

    Yields:
        The writer. The files are complete when the context ends without an exception.

    Raises:
        RuntimeError: the header of a file has an unexpected length.
    """
    with ExitStack() as stack:
        streams = {name: stack.enter_context((folder / name).open("wb")) for name in DTYPES}
        for stream in streams.values():
            stream.write(bytes(HEADER))
        writer = VolumeWriter(streams, channels)
        yield writer
        for name, stream in streams.items():
            length = (stream.tell() - HEADER) // np.dtype(DTYPES[name]).itemsize
            stream.seek(0)
            header = {"descr": DTYPES[name], "fortran_order": False, "shape": (length,)}
            np.lib.format.write_array_header_1_0(stream, header)
            if stream.tell() != HEADER:
                raise RuntimeError(f"the header of {name} has {stream.tell()} bytes, expected {HEADER}")
    content = {"channels": channels, "volumes": [asdict(entry) for entry in writer.entries]}
    write_text(folder / INDEX_FILE, json.dumps(content) + "\n")

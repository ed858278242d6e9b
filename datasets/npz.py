"""Reads the arrays of an .npz file row by row: flat memory, and never a pickle."""

import threading
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from config.errors import InputError

_LIMIT = 1 << 31


def array_names(file: Path) -> set[str]:
    """Names of the arrays in `file`.

    Raises:
        InputError: not an .npz file.
    """
    try:
        with zipfile.ZipFile(file) as bundle:
            return {name.removesuffix(".npy") for name in bundle.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{file}: damaged or not an .npz file: {error}") from error


class Rows:
    """One array of an .npz file, read row after row.

    Attributes:
        shape: of the whole array.
        dtype: of the whole array; never object.
    """

    def __init__(self, file: Path, name: str):
        self.file, self.name = file, name
        self._stream: IO[bytes] | None = None
        self._next = 0
        self._lock = threading.Lock()
        self._rewind()

    def row(self, index: int) -> np.ndarray:
        """Row `index`, shape[1:]; cheap where rows are asked for in order.

        Raises:
            InputError: the file ends before the row does, or its checksum is wrong.
        """
        with self._lock:
            if index < self._next or self._stream is None:
                self._rewind()
            size = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
            try:
                while self._next <= index:
                    content = self._stream.read(size) if self._stream else b""
                    self._next += 1
            except (OSError, zipfile.BadZipFile, ValueError, RuntimeError) as error:
                raise InputError(f"{self.file}: array {self.name} is damaged: {error}") from error
        if len(content) != size:
            raise InputError(f"{self.file}: array {self.name} is cut off at row {index} of {self.shape[0]}")
        return np.frombuffer(content, self.dtype).reshape(self.shape[1:])

    def all(self) -> np.ndarray:
        """The whole array, for small ones."""
        return np.stack([self.row(index) for index in range(self.shape[0])]) if self.shape[0] else np.empty(self.shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and (self.file, self.name) == (other.file, other.name)

    def __hash__(self) -> int:
        return hash((self.file, self.name))

    def _rewind(self) -> None:
        if self._stream is not None:
            self._stream.close()
        try:
            stream = zipfile.ZipFile(self.file).open(f"{self.name}.npy")  # noqa: SIM115 - stays open between rows
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            self.shape, by_column, self.dtype = read(stream)
        except KeyError:
            raise InputError(f"{self.file}: no array {self.name} in it") from None
        except (OSError, ValueError, zipfile.BadZipFile, RuntimeError) as error:
            raise InputError(f"{self.file}: array {self.name} is damaged: {error}") from error
        row_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        if self.dtype.hasobject or by_column or not self.shape or not 0 < row_bytes < _LIMIT:
            raise InputError(f"{self.file}: array {self.name} is {self.dtype} {self.shape}; expected rows of numbers")
        self._stream, self._next = stream, 0

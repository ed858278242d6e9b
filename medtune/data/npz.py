"""Reader for the arrays of an .npz file, row by row in constant memory. It never executes pickled code."""

import math
import threading
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from medtune.config.errors import InputError
from medtune.serving.decode import MAX_PIXELS
from medtune.serving.one_line import first_line

MAX_ROW_BYTES = 3 * MAX_PIXELS
# Every row becomes a sample in memory, so the number is limited. The largest published set has 250,000 images.
MAX_ROWS = 5_000_000
FIX = "Download or write the file again"


def array_names(file: Path) -> set[str]:
    """List the names of the arrays in an .npz file.

    Args:
        file: the .npz file.

    Returns:
        The names.

    Raises:
        InputError: the file is damaged or not an .npz file.
    """
    try:
        with zipfile.ZipFile(file) as bundle:
            return {name.removesuffix(".npy") for name in bundle.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{file}: damaged or not an .npz file. {FIX}") from error


class RowReader:
    """Reader for the rows of one array of an .npz file.

    Attributes:
        shape: shape of the array.
        dtype: dtype of the array; never object.
    """

    def __init__(self, file: Path, name: str):
        """Open the file and read the header of the array.

        Args:
            file: the .npz file.
            name: name of the array.

        Raises:
            InputError: the array is missing, damaged, too large or does not contain rows of numbers.
        """
        self.file, self.name = file, name
        self._stream: IO[bytes] | None = None
        self._next = 0
        self._lock = threading.Lock()
        self._rewind()

    def read_row(self, index: int) -> np.ndarray:
        """Read a row. Reading the rows in ascending order is fast.

        Args:
            index: index of the row.

        Returns:
            The row, with shape[1:] and dtype of the array.

        Raises:
            InputError: the file is truncated or damaged.
        """
        with self._lock:
            if index < self._next or self._stream is None:
                self._rewind()
            size = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
            try:
                while self._next <= index:
                    content = self._stream.read(size) if self._stream else b""
                    self._next += 1
            except Exception as error:  # zipfile and its decompressors raise different errors
                raise InputError(f"{self.file}: array {self.name} is damaged: {first_line(error)}. {FIX}") from error
        if len(content) != size:
            raise InputError(f"{self.file}: array {self.name} is truncated at row {index} of {self.shape[0]}. {FIX}")
        return np.frombuffer(content, self.dtype).reshape(self.shape[1:])

    def read_all(self) -> np.ndarray:
        """Read the entire array, which must fit into memory."""
        return (
            np.stack([self.read_row(index) for index in range(self.shape[0])])
            if self.shape[0]
            else np.empty(self.shape)
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowReader) and (self.file, self.name) == (other.file, other.name)

    def __hash__(self) -> int:
        return hash((self.file, self.name))

    def _rewind(self) -> None:
        """Open the array again at its first row, and check its header."""
        if self._stream is not None:
            self._stream.close()
        try:
            stream = zipfile.ZipFile(self.file).open(f"{self.name}.npy")  # noqa: SIM115 - stays open between rows
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            self.shape, by_column, self.dtype = read(stream)
        except KeyError:
            raise InputError(f"{self.file}: has no array {self.name}. {FIX}") from None
        except Exception as error:  # numpy parses the header as Python code, so the tokenizer's errors are possible
            raise InputError(f"{self.file}: array {self.name} is damaged: {first_line(error)}. {FIX}") from error
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        if self.dtype.hasobject or by_column or not self.shape or not 0 < row_bytes <= MAX_ROW_BYTES:
            raise InputError(
                f"{self.file}: array {self.name} is {self.dtype} {self.shape}; expected rows of numbers. {FIX}"
            )
        if not 0 <= self.shape[0] <= MAX_ROWS:
            raise InputError(
                f"{self.file}: array {self.name} has {self.shape[0]:,} rows; expected at most {MAX_ROWS:,}"
            )
        self._stream, self._next = stream, 0

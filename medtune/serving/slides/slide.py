"""A whole-slide image: its levels, the size of its pixels, and regions of a level. Needs tifffile and zarr."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.serving.one_line import first_line
from medtune.serving.pixels import DecodeError
from medtune.serving.slides.absent import WHITE, StoredTiles, stored_tiles
from medtune.serving.slides.pixel_size import stated_mpp

if TYPE_CHECKING:
    import tifffile  # imported where it is used, as zarr is: the extra wsi, and slow to load

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what makes a file unusable is raised as well
SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".scn", ".qptiff")
# Formats that are no TIFF pyramids, or whose overlapping fields (.bif) would have to be stitched.
OTHER_SUFFIXES = (".mrxs", ".bif", ".vms", ".vmu", ".svslide", ".czi", ".vsi", ".isyntax", ".zvi", ".lif", ".ets")
CONVERT = "Convert it to a pyramidal TIFF: vips tiffsave IN OUT.tif --pyramid --tile --compression jpeg"
INSTALL = 'whole-slide images need zarr, which is not installed. Run pip install "medtune[wsi]"'
MAX_REGION = 8192
# A file stores its pixels in tiles or strips, which are decoded whole.
_MAX_STORED_TILE = 25_000_000
_RGB, _RGBA = 3, 4
_OTHER_IMAGES = ("label", "macro", "map", "overview", "thumbnail")


class MissingReaderError(Exception):
    """The libraries that read slides are not installed; the message is what to install."""


def require_reader() -> None:
    """Raise MissingReaderError if zarr is not installed."""
    from importlib.util import find_spec

    if find_spec("zarr") is None:
        raise MissingReaderError(INSTALL)


class Slide:
    """An open slide.

    Attributes:
        levels: (width, height) in pixels of each level, level 0 being the largest.
        stated_mpp: micrometres per pixel of level 0, horizontally and vertically, that the file states; None if it
            states none that a microscope can have.
    """

    def __init__(self, path: Path) -> None:
        """Open a slide file; `close` closes it.

        Raises:
            DecodeError: it cannot be read as a slide; the message is the reason.
        """
        import tifffile

        if path.suffix.lower() in OTHER_SUFFIXES:
            raise DecodeError(f"{path.suffix} files cannot be read. {CONVERT}")
        if not path.is_file():
            raise DecodeError("not a regular file" if path.exists() else "the file does not exist")
        with _one_line():
            self._file = tifffile.TiffFile(path)
        try:
            with _one_line():
                series = _largest(self._file)
                self._series, self._arrays = series, dict[int, Any]()
                self._axes = _axes(series)
                self.levels = tuple(
                    (int(level.shape[level.axes.index("X")]), int(level.shape[level.axes.index("Y")]))
                    for level in series.levels
                )
                _check_levels(series, self.levels, path.stat().st_size)
                self.stated_mpp = stated_mpp(self._file, _first_page(series), self.levels[0])
        except BaseException:
            self._file.close()
            raise

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> "Iterator[Slide]":
        """An open slide that is closed at the end; errors as for the constructor."""
        slide = cls(path)
        try:
            yield slide
        finally:
            slide.close()

    def close(self) -> None:
        """Close the file."""
        self._arrays.clear()
        self._file.close()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of level 0 in pixels."""
        return self.levels[0]

    def scale(self, level: int) -> tuple[float, float]:
        """Pixels of level 0 per pixel of `level`, horizontally and vertically."""
        (width, height), (level_width, level_height) = self.levels[0], self.levels[level]
        return width / level_width, height / level_height

    def read(self, level: int, box: tuple[int, int, int, int]) -> np.ndarray:
        """Pixels of a region as uint8 (h, w, 3); only the stored tiles that it touches are decoded.

        Args:
            level: number of the level.
            box: left, top, right, bottom in pixels of that level; inside of it.

        Raises:
            DecodeError: the region is damaged.
            MissingReaderError: zarr is not installed.
        """
        left, top, right, bottom = box
        region = {"X": slice(left, right), "Y": slice(top, bottom)}
        with _one_line():
            array = self._array(level)
            pixels = np.asarray(array[tuple(region.get(axis, slice(None)) for axis in self._axes)])
        pixels = pixels.transpose([self._axes.index(axis) for axis in "YX"] + [_channel_axis(self._axes)])
        if pixels.shape[:2] != (bottom - top, right - left):
            raise DecodeError(f"damaged: a region of level {level} is {pixels.shape[:2]}, expected {box}")
        return _on_white(pixels)

    def stored_tiles(self, level: int) -> StoredTiles:
        """Return the grid in which a level is stored, and what the file lacks of it, which `read` shows white.

        Raises:
            DecodeError: the grid is damaged.
        """
        with _one_line():
            return stored_tiles(self._series.levels[level])

    def _array(self, level: int) -> Any:
        if level not in self._arrays:
            require_reader()
            import zarr

            self._arrays[level] = zarr.open(self._series.aszarr(level=level, fillvalue=WHITE), mode="r")
        return self._arrays[level]


def _largest(file: "tifffile.TiffFile") -> "tifffile.TiffPageSeries":
    """The slide itself. Other images of the file are its label, which names the patient, its macro and thumbnail."""
    found = [
        series
        for series in file.series
        if "X" in series.axes
        and "Y" in series.axes
        and series.name.casefold() not in _OTHER_IMAGES
        and not _first_page(series).is_reduced
    ]
    if not found:
        raise DecodeError("the file holds no image")
    return max(found, key=lambda series: series.shape[series.axes.index("X")] * series.shape[series.axes.index("Y")])


def _first_page(level: "tifffile.TiffPageSeries") -> "tifffile.TiffPage":
    page = level.pages[0]
    if page is None:
        raise DecodeError("damaged: a level has no pixels")
    return page.aspage()


def _channel_axis(axes: str) -> int:
    return next(number for number, axis in enumerate(axes) if axis not in "YX")


def _axes(series: "tifffile.TiffPageSeries") -> str:
    """Order of the axes: Y, X and one of channels.

    Raises:
        DecodeError: the pixels are not 8-bit RGB in one plane.
    """
    axes: str = series.axes
    others = {axis: size for axis, size in zip(axes, series.shape, strict=True) if axis not in "YX"}
    if len(others) != 1 or next(iter(others)) not in "SC":
        shape = ", ".join(f"{axis} {size}" for axis, size in others.items()) or "no channels"
        raise DecodeError(f"pixels with {shape}; expected one plane of 8-bit RGB, as brightfield scanners write")
    channels = next(iter(others.values()))
    if series.dtype != np.uint8 or channels not in (_RGB, _RGBA):
        raise DecodeError(f"{channels} channels of {series.dtype}; expected 8-bit RGB, as brightfield scanners write")
    return axes


def _check_levels(series: "tifffile.TiffPageSeries", levels: tuple[tuple[int, int], ...], size: int) -> None:
    """Refuse pyramids that are damaged, or stored so that a region cannot be read without the rest.

    Raises:
        DecodeError: the message says what is wrong.
    """
    (width, height), axes = levels[0], series.axes
    for number, ((level_width, level_height), level) in enumerate(zip(levels, series.levels, strict=True)):
        if not (0 < level_width <= width and 0 < level_height <= height) or level.axes != axes:
            raise DecodeError(f"level {number} of the pyramid does not fit the others")
        skew = abs((width / level_width) / (height / level_height) - 1)
        if skew > 0.02 + 2 / min(level_width, level_height):
            raise DecodeError(f"level {number} of the pyramid has other proportions than level 0")
        page = _first_page(level)
        rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        if min(rows, page.imagelength) * columns > _MAX_STORED_TILE:
            raise DecodeError(f"level {number} is stored in pieces too large to read a part of it. {CONVERT}")
        ends = np.asarray(page.dataoffsets, np.int64) + np.asarray(page.databytecounts, np.int64)
        if len(ends) and int(ends.max()) > size:
            raise DecodeError("damaged: the file is shorter than it should be, so that parts of the pixels are missing")


@contextmanager
def _one_line() -> Iterator[None]:
    """Parsers raise every kind of error on damaged files: raise DecodeError instead."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (DecodeError, MissingReaderError):
        raise
    except MemoryError:
        raise DecodeError("decoding needs more memory than there is") from None
    except OSError as error:
        raise DecodeError(f"cannot be read: {error.strerror or first_line(error)}") from None
    except Exception as error:
        raise DecodeError(f"damaged or not a slide: {first_line(error)[:160] or type(error).__name__}") from None


def _on_white(pixels: np.ndarray) -> np.ndarray:
    if pixels.shape[2] == _RGB:
        return np.ascontiguousarray(pixels)
    alpha = pixels[..., 3:].astype(np.uint16)
    return ((pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)

"""Reading of whole-slide images: levels (resolutions), pixel size and regions. Needs tifffile and zarr."""

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
    import tifffile  # optional (extra wsi) and slow to import, so tifffile and zarr are imported in functions

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # damaged pixels still raise errors
SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".scn", ".qptiff")
# Unsupported formats: they are not TIFF files with several levels, or their tiles overlap (.bif).
OTHER_SUFFIXES = (".mrxs", ".bif", ".vms", ".vmu", ".svslide", ".czi", ".vsi", ".isyntax", ".zvi", ".lif", ".ets")
CONVERT = "Convert it to a pyramidal TIFF: vips tiffsave IN OUT.tif --pyramid --tile --compression jpeg"
INSTALL = 'whole-slide images need zarr, which is not installed. Run pip install "medtune[wsi]"'
MAX_REGION = 8192  # maximum side of a region in pixels
# Maximum number of pixels of a stored tile or strip, which is always decoded completely.
_MAX_STORED_TILE = 25_000_000
_RGB, _RGBA = 3, 4  # numbers of channels
_OTHER_IMAGES = ("label", "macro", "map", "overview", "thumbnail")  # names of images that are not the slide


class MissingReaderError(Exception):
    """Missing library for reading slides. The message names the package to install."""


def require_reader() -> None:
    """Raise MissingReaderError if zarr is not installed."""
    from importlib.util import find_spec

    if find_spec("zarr") is None:
        raise MissingReaderError(INSTALL)


class Slide:
    """An open slide.

    Attributes:
        levels: (width, height) of each level in pixels. Level 0 is the largest.
        stated_mpp: micrometers per pixel of level 0 according to the file, horizontally and vertically; None if the
            file contains no plausible values.
    """

    def __init__(self, path: Path) -> None:
        """Open a slide file. The caller must call `close`.

        Args:
            path: path of the file.

        Raises:
            DecodeError: the file cannot be read as a slide. The message is the reason.
        """
        import tifffile

        if path.suffix.lower() in OTHER_SUFFIXES:
            raise DecodeError(f"{path.suffix} files cannot be read. {CONVERT}")
        if not path.is_file():
            raise DecodeError("not a regular file" if path.exists() else "the file does not exist")
        with _convert_errors():
            self._file = tifffile.TiffFile(path)
        try:
            with _convert_errors():
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
        """Open a slide, and close it at the end of the block. The errors are those of the constructor."""
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
        """Return the number of pixels of level 0 per pixel of `level`, horizontally and vertically."""
        (width, height), (level_width, level_height) = self.levels[0], self.levels[level]
        return width / level_width, height / level_height

    def read(self, level: int, box: tuple[int, int, int, int]) -> np.ndarray:
        """Read a region. Only the stored tiles that overlap the region are decoded.

        Args:
            level: number of the level.
            box: left, top, right and bottom in pixels of this level. The box must be inside of the level.

        Returns:
            uint8 (h, w, 3). Missing stored tiles are white.

        Raises:
            DecodeError: the region is damaged.
            MissingReaderError: zarr is not installed.
        """
        left, top, right, bottom = box
        region = {"X": slice(left, right), "Y": slice(top, bottom)}
        with _convert_errors():
            array = self._array(level)
            pixels = np.asarray(array[tuple(region.get(axis, slice(None)) for axis in self._axes)])
        pixels = pixels.transpose([self._axes.index(axis) for axis in "YX"] + [_channel_axis(self._axes)])
        if pixels.shape[:2] != (bottom - top, right - left):
            raise DecodeError(f"damaged: a region of level {level} is {pixels.shape[:2]}, expected {box}")
        return _on_white(pixels)

    def stored_tiles(self, level: int) -> StoredTiles:
        """Return the grid of the stored tiles of a level.

        Args:
            level: number of the level.

        Returns:
            The grid with the missing tiles.

        Raises:
            DecodeError: the grid is damaged.
        """
        with _convert_errors():
            return stored_tiles(self._series.levels[level])

    def _array(self, level: int) -> Any:
        """Return the pixels of a level as an array that is read on access."""
        if level not in self._arrays:
            require_reader()
            import zarr

            self._arrays[level] = zarr.open(self._series.aszarr(level=level, fillvalue=WHITE), mode="r")
        return self._arrays[level]


def _largest(file: "tifffile.TiffFile") -> "tifffile.TiffPageSeries":
    """Return the slide: the largest image in the file that is not a label, a macro image or a thumbnail."""
    candidates = [
        series
        for series in file.series
        if "X" in series.axes
        and "Y" in series.axes
        and series.name.casefold() not in _OTHER_IMAGES
        and not _first_page(series).is_reduced
    ]
    if not candidates:
        raise DecodeError("the file contains no image of a slide")

    def n_pixels(series: "tifffile.TiffPageSeries") -> int:
        return int(series.shape[series.axes.index("X")] * series.shape[series.axes.index("Y")])

    return max(candidates, key=n_pixels)


def _first_page(level: "tifffile.TiffPageSeries") -> "tifffile.TiffPage":
    page = level.pages[0]
    if page is None:
        raise DecodeError("damaged: a level has no pixels")
    return page.aspage()


def _channel_axis(axes: str) -> int:
    """Return the position of the axis that is neither Y nor X."""
    return next(number for number, axis in enumerate(axes) if axis not in "YX")


def _axes(series: "tifffile.TiffPageSeries") -> str:
    """Return the order of the axes: Y, X and one axis of channels.

    Raises:
        DecodeError: the pixels are not 8-bit RGB in one plane.
    """
    axes: str = series.axes
    others = {axis: size for axis, size in zip(axes, series.shape, strict=True) if axis not in "YX"}
    if len(others) != 1 or next(iter(others)) not in "SC":
        shape = ", ".join(f"{axis} {size}" for axis, size in others.items()) or "no channels"
        raise DecodeError(f"pixels with {shape}; expected one plane of 8-bit RGB from a brightfield scanner")
    channels = next(iter(others.values()))
    if series.dtype != np.uint8 or channels not in (_RGB, _RGBA):
        raise DecodeError(f"{channels} channels of {series.dtype}; expected 8-bit RGB from a brightfield scanner")
    return axes


def _check_levels(series: "tifffile.TiffPageSeries", levels: tuple[tuple[int, int], ...], size: int) -> None:
    """Check that the levels are undamaged, and that regions can be read separately.

    Raises:
        DecodeError: the levels are inconsistent, the stored tiles are too large or the file is truncated.
    """
    (width, height), axes = levels[0], series.axes
    for number, ((level_width, level_height), level) in enumerate(zip(levels, series.levels, strict=True)):
        if not (0 < level_width <= width and 0 < level_height <= height) or level.axes != axes:
            raise DecodeError(f"level {number} of the pyramid does not match the other levels")
        skew = abs((width / level_width) / (height / level_height) - 1)
        if skew > 0.02 + 2 / min(level_width, level_height):
            raise DecodeError(f"level {number} of the pyramid has other proportions than level 0")
        page = _first_page(level)
        rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        if min(rows, page.imagelength) * columns > _MAX_STORED_TILE:
            raise DecodeError(f"level {number} is stored in tiles that are too large for reading a region. {CONVERT}")
        ends = np.asarray(page.dataoffsets, np.int64) + np.asarray(page.databytecounts, np.int64)
        if len(ends) and int(ends.max()) > size:
            raise DecodeError("damaged: the file is truncated, so parts of the pixels are missing")


@contextmanager
def _convert_errors() -> Iterator[None]:
    """Convert all errors to DecodeError, because parsers raise many kinds of errors for damaged files."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (DecodeError, MissingReaderError):
        raise
    except MemoryError:
        raise DecodeError("not enough memory to decode the slide") from None
    except OSError as error:
        raise DecodeError(f"cannot be read: {error.strerror or first_line(error)}") from None
    except Exception as error:
        raise DecodeError(f"damaged or not a slide: {first_line(error)[:160] or type(error).__name__}") from None


def _on_white(pixels: np.ndarray) -> np.ndarray:
    """Return RGB pixels. Transparent pixels are blended with white."""
    if pixels.shape[2] == _RGB:
        return np.ascontiguousarray(pixels)
    alpha = pixels[..., 3:].astype(np.uint16)
    return ((pixels[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)

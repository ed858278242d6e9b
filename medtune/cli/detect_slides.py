"""Detection of whole-slide images, and choice of a tile size. No pixels are read."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from medtune.cli.detected import DetectedData
from medtune.data.listing import find_files
from medtune.serving.folder_scan import printable
from medtune.serving.pixels import DecodeError
from medtune.serving.slides.slide import CONVERT, OTHER_SUFFIXES, SUFFIXES, Slide

TIFF = (".tif", ".tiff")
_TRIED = 5  # approximate number of slides that are opened
TILE_PIXELS = 128  # side of a tile in pixels
# Micrometers per pixel of tiles, at which cells and their arrangement are visible.
_MPP = 2.0
# Minimum number of tiles along the shorter side of a slide, unless this would enlarge tiles.
_TILES_PER_SIDE = 8


def find_slides(root: Path) -> list[str]:
    """Find whole-slide images.

    Args:
        root: data root.

    Returns:
        Sorted POSIX paths relative to `root`. Empty if there are no slides. TIFF files count as slides if one of them
        has several resolutions.

    Raises:
        InputError: a link or folder is not readable.
    """
    if not root.is_dir():
        return []
    files = [path for path in find_files(root, (*SUFFIXES, *OTHER_SUFFIXES)) if printable(path) == path]
    scanned = [path for path in files if not path.lower().endswith(TIFF)]
    images = [path for path in files if path.lower().endswith(TIFF)]
    if scanned or any(_levels(root / path) > 1 for path in images[:: max(1, len(images) // _TRIED)][:_TRIED]):
        return files
    return []


def describe_slides(root: Path, slides: Sequence[str], detected: DetectedData) -> None:
    """Add settings, findings and warnings about the slides.

    Args:
        root: data root.
        slides: result of `find_slides`.
        detected: result to extend.
    """
    detected.settings["data.source"] = "slides"
    detected.settings["data.image_size"] = TILE_PIXELS
    if foreign := [path for path in slides if PurePosixPath(path).suffix.lower() in OTHER_SUFFIXES]:
        detected.warnings.append(f"{foreign[0]}: unsupported format ({len(foreign):,} files). {CONVERT}")
    mpp: list[float] = []
    sides: list[float] = []
    without: list[str] = []
    readable = [path for path in slides if path not in foreign]
    for path in readable[:: max(1, len(readable) // _TRIED)][:_TRIED]:
        try:
            with Slide.open(root / path) as slide:
                if slide.stated_mpp is None:
                    without.append(path)
                    continue
                mpp.append(max(slide.stated_mpp))
                sides.append(min(side * scale for side, scale in zip(slide.size, slide.stated_mpp, strict=True)))
        except DecodeError as error:
            detected.warnings.append(f"{path}: {error}")
    if without:
        detected.warnings.append(
            f"{without[0]}: the file does not state its micrometers per pixel. Set data.tiles.mpp, or name a column of "
            "the table in data.tiles.mpp_column"
        )
    if mpp:
        size = tile_size(max(mpp), min(sides))
        detected.settings["data.tiles.size_um"] = size
        values = sorted({round(value, 3) for value in mpp})
        shown = f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g}"
        detected.findings.append(
            ("tiles", f"{size:g} micrometers per side, {TILE_PIXELS} pixels; slides have {shown} micrometers per pixel")
        )


def tile_size(mpp: float, side_um: float) -> float:
    """Return the side of a tile in micrometers. A tile has 128 x 128 pixels.

    Args:
        mpp: micrometers per pixel of the coarsest slide. Tiles are never enlarged.
        side_um: shortest side of a slide in micrometers.
    """
    side = min(_MPP * TILE_PIXELS, side_um / _TILES_PER_SIDE)
    return round(max(side, mpp * TILE_PIXELS), 1)


def _levels(path: Path) -> int:
    """Return the number of resolutions in a file, or 0 if it is not a readable slide."""
    try:
        with Slide.open(path) as slide:
            return len(slide.levels)
    except DecodeError:
        return 0

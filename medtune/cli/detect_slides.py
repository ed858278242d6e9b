"""Whole-slide images in a folder: which files they are, and tiles of a size that suits them. Reads no pixels."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from medtune.cli.detected import DetectedData
from medtune.data.listing import find_files
from medtune.serving.folder_scan import printable
from medtune.serving.pixels import DecodeError
from medtune.serving.slides.slide import CONVERT, OTHER_SUFFIXES, SUFFIXES, Slide

TIFF = (".tif", ".tiff")
_TRIED = 5
TILE_PIXELS = 128
# At 2 micrometres per pixel cells and their arrangement are visible; a slide should have several tiles.
_MPP = 2.0
_TILES_PER_SIDE = 8


def find_slides(root: Path) -> list[str]:
    """Slides under `root`, relative and posix, sorted; empty where TIFF files are single images.

    Raises:
        InputError: a link or a folder that cannot be read.
    """
    if not root.is_dir():
        return []
    found = [path for path in find_files(root, (*SUFFIXES, *OTHER_SUFFIXES)) if printable(path) == path]
    scanned = [path for path in found if not path.lower().endswith(TIFF)]
    images = [path for path in found if path.lower().endswith(TIFF)]
    if scanned or any(_levels(root / path) > 1 for path in images[:: max(1, len(images) // _TRIED)][:_TRIED]):
        return found
    return []


def describe_slides(root: Path, slides: Sequence[str], detected: DetectedData) -> None:
    """Add the source, the size of tiles and what is wrong with the slides.

    Args:
        root: the data root.
        slides: from `find_slides`.
        detected: has what the folders or the table say; gets settings, findings and warnings.
    """
    detected.settings["data.source"] = "slides"
    detected.settings["data.image_size"] = TILE_PIXELS
    if foreign := [path for path in slides if PurePosixPath(path).suffix.lower() in OTHER_SUFFIXES]:
        detected.warnings.append(f"{foreign[0]}: such files cannot be read ({len(foreign):,} of them). {CONVERT}")
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
                sides.append(min(side * one for side, one in zip(slide.size, slide.stated_mpp, strict=True)))
        except DecodeError as error:
            detected.warnings.append(f"{path}: {error}")
    if without:
        detected.warnings.append(
            f"{without[0]} does not state its micrometres per pixel. If you know them, set data.tiles.mpp, or name a "
            "column of the table in data.tiles.mpp_column"
        )
    if mpp:
        size = tile_size(max(mpp), min(sides))
        detected.settings["data.tiles.size_um"] = size
        seen = sorted({round(one, 3) for one in mpp})
        shown = f"{seen[0]:g}" if len(seen) == 1 else f"{seen[0]:g} to {seen[-1]:g}"
        detected.findings.append(
            ("tiles", f"{size:g} micrometres become {TILE_PIXELS} pixels; slides have {shown} micrometres per pixel")
        )


def tile_size(mpp: float, side_um: float) -> float:
    """Side of a tile in micrometres that becomes 128 pixels.

    Args:
        mpp: micrometres per pixel of the coarsest slide; tiles are never enlarged.
        side_um: shortest side of a slide in micrometres.
    """
    wanted = min(_MPP * TILE_PIXELS, side_um / _TILES_PER_SIDE)
    return round(max(wanted, mpp * TILE_PIXELS), 1)


def _levels(path: Path) -> int:
    try:
        with Slide.open(path) as slide:
            return len(slide.levels)
    except DecodeError:
        return 0

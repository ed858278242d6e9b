"""Viewer of report.html: slices of a volume with sliders, in one file without network access.

A sprite is one PNG file with the slices of a plane as tiles. Each plane has three sprites: the image, the outlines of
the truth, and the areas of the prediction. The slices cover the labels and a margin, at a reduced resolution.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from medtune.evaluation.plot_file import COLORS
from medtune.evaluation.templates import render_template
from medtune.tasks.segmentation.case_plot import CaseVolumes, plane

# Longest side of a slice in pixels, and largest number of slices per plane. The best quality is first.
QUALITIES = ((144, 28), (120, 24), (96, 24), (96, 16), (80, 14), (64, 12), (48, 10))
MAX_BYTES = 400_000  # of all sprites of a case, in base64
MARGIN = 0.25  # fraction of the extent of the labels, on both sides
GRAY_STEP = 8  # difference between gray values. The resulting 32 values compress well
DISPLAY = 290  # longest side of a slice on the page in pixels
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SpriteSize:
    """Layout of the tiles of a sprite.

    Attributes:
        width: width of a tile in pixels.
        height: height of a tile in pixels.
        columns: tiles per row.
    """

    width: int
    height: int
    columns: int


def viewer_section(
    cases: Sequence[tuple[Mapping[str, Any], CaseVolumes]], labels: Sequence[str], item: str = "volume"
) -> str:
    """Render the section of report.html.

    Args:
        cases: entries `{name, volume, whose, dice, labels}`, each with its image and masks.
        labels: names of the labels.
        item: word for a volume, such as `volume` or `image`.

    Returns:
        HTML with all sprites.
    """
    return render_template(
        "tasks/segmentation/viewer.html.j2",
        cases=[dict(case) | {"planes": case_planes(volumes)} for case, volumes in cases],
        labels=[(name, COLORS[k % len(COLORS)]) for k, name in enumerate(labels)],
        item=item,
    )


def case_planes(case: CaseVolumes) -> list[dict[str, Any]]:
    """Draw the sprites of the planes with the best quality that `MAX_BYTES` allows, or else with the lowest.

    Args:
        case: image and masks of a volume.

    Returns:
        One entry per plane: `name`, `image`, `truth` and `prediction` (PNG in base64), `width` and `height` of a slice
        on the page, `columns`, `rows`, `positions` (mm along the axis) and `start` (index of the first shown slice).
    """
    planes: list[dict[str, Any]] = []
    for side, count in QUALITIES:
        planes = [_plane(case, name, axes, side, count) for name, axes in case.planes.items()]
        if sum(len(entry[sprite]) for entry in planes for sprite in ("image", "truth", "prediction")) <= MAX_BYTES:
            break
    return planes


def _plane(case: CaseVolumes, name: str, axes: tuple[int, int, int], side: int, count: int) -> dict[str, Any]:
    """Return the entry of `case_planes` for one plane, at most `side` pixels and `count` slices."""
    normal, horizontal, vertical = axes
    (left, right), (bottom, top) = case.field()[horizontal], case.field()[vertical]
    width_mm, height_mm = right - left, top - bottom
    longest = max(width_mm, height_mm)
    tile = [max(8, round(side * extent / longest)) for extent in (width_mm, height_mm)]
    shown = [max(8, round(DISPLAY * extent / longest)) for extent in (width_mm, height_mm)]
    fractions = slice_fractions(case, normal, count)
    size = SpriteSize(tile[0], tile[1], math.ceil(math.sqrt(len(fractions))))
    low, high = case.window
    # Shown part of an upright slice, as fractions from the left and from the top.
    x, y = case.size_mm[horizontal], case.size_mm[vertical]
    sides = (1 - right / x, 1 - left / x) if horizontal == 0 else (left / x, right / x)
    box = (sides[0], 1 - top / y, sides[1], 1 - bottom / y)
    images: list[Pixels] = []
    masks: dict[str, list[Pixels]] = {"truth": [], "prediction": []}
    for fraction in fractions:
        gray = np.clip((plane(case.image, axes, fraction) - low) / (high - low), 0, 1) * 255
        images.append(_resize(_oriented(gray.astype(np.uint8), horizontal), size, box, Image.Resampling.BILINEAR))
        for kind, mask in (("truth", case.truth), ("prediction", case.prediction)):
            labels = _resize(_oriented(plane(mask, axes, fraction), horizontal), size, box, Image.Resampling.NEAREST)
            masks[kind].append(outline(labels) if kind == "truth" else labels)
    positions = [round(fraction * case.size_mm[normal], 1) for fraction in fractions]
    return {
        "name": "image" if case.is_image else name,
        "axis": "xyz"[normal],
        "image": _encode(Image.fromarray(_tiles(images, size) // GRAY_STEP * GRAY_STEP)),
        **{kind: _encode(_colored(_tiles(tiles, size))) for kind, tiles in masks.items()},
        "width": shown[0],
        "height": shown[1],
        "columns": size.columns,
        "rows": math.ceil(len(fractions) / size.columns),
        "positions": positions,
        "start": int(np.abs(np.array(fractions) - case.center()[normal]).argmin()),
    }


def slice_fractions(case: CaseVolumes, normal: int, count: int) -> list[float]:
    """Return the positions of the slices along an axis, as fractions of the volume.

    Args:
        case: image and masks of a volume.
        normal: the axis.
        count: largest number of slices.

    Returns:
        Centers of equally spaced voxels in the range of the labels with a margin, or of the complete axis if there are
        no labels.
    """
    others = tuple(axis for axis in range(3) if axis != normal)
    labeled = np.flatnonzero(((case.truth > 0) | (case.prediction > 0)).any(axis=others))
    length = case.truth.shape[normal]
    first, last = (int(labeled[0]), int(labeled[-1])) if len(labeled) else (0, length - 1)
    margin = math.ceil(MARGIN * (last - first + 1))
    first, last = max(0, first - margin), min(length - 1, last + margin)
    indices = np.unique(np.rint(np.linspace(first, last, min(count, last - first + 1))).astype(int))
    return [(index + 0.5) / length for index in indices.tolist()]


def outline(labels: Pixels) -> Pixels:
    """Return the labels of the pixels that have a neighbor with another label; 0 for all other pixels."""
    padded = np.pad(labels, 1)
    inner = padded[1:-1, 1:-1]
    edge = np.zeros(labels.shape, bool)
    for shifted in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
        edge |= shifted != inner
    return np.where(edge, labels, 0).astype(np.uint8)


def _oriented(slice_: npt.NDArray[Any], horizontal: int) -> npt.NDArray[Any]:
    """Turn a slice (vertical, horizontal) upright, with the patient's right on the left as in `draw_case`."""
    upright = slice_[::-1]
    return np.ascontiguousarray(upright[:, ::-1] if horizontal == 0 else upright)


def _resize(
    pixels: npt.NDArray[Any], size: SpriteSize, box: tuple[float, float, float, float], method: Image.Resampling
) -> Pixels:
    """Resample a part of a slice; `box` has its left, upper, right and lower side as fractions."""
    image = Image.fromarray(pixels.astype(np.uint8))
    left, upper, right, lower = (min(max(side, 0.0), 1.0) for side in box)
    part = (left * image.width, upper * image.height, right * image.width, lower * image.height)
    return np.asarray(image.resize((size.width, size.height), method, box=part))


def _tiles(tiles: Sequence[Pixels], size: SpriteSize) -> Pixels:
    """Arrange tiles row by row in one array."""
    rows = math.ceil(len(tiles) / size.columns)
    sheet = np.zeros((rows * size.height, size.columns * size.width, *tiles[0].shape[2:]), np.uint8)
    for number, tile in enumerate(tiles):
        y, x = number // size.columns * size.height, number % size.columns * size.width
        sheet[y : y + size.height, x : x + size.width] = tile
    return sheet


def _colored(labels: Pixels) -> Image.Image:
    """Return a transparent image with one color per label."""
    image = Image.fromarray(labels)
    image = Image.frombytes("P", image.size, image.tobytes())
    palette = [0, 0, 0]
    for value in range(1, 256):
        color = COLORS[(value - 1) % len(COLORS)]
        palette += [int(color[start : start + 2], 16) for start in (1, 3, 5)]
    image.putpalette(palette)
    image.info["transparency"] = 0
    return image


def _encode(image: Image.Image) -> str:
    """Return an image as PNG in base64."""
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=7)
    return base64.b64encode(stream.getvalue()).decode()

"""Contact sheet of a data set of volumes: one slice per volume with outlined labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from medtune.data.image_colors import CHANNELS, restore_colors
from medtune.data.volume_store import VolumeStore

# Outline colors of the labels 1, 2, ...; further labels repeat them.
COLORS = ((230, 60, 60), (60, 190, 75), (70, 130, 255), (255, 190, 30), (190, 90, 220), (60, 210, 210))
_COLUMNS, _MAX = 6, 24
# Sizes in pixels.
_TILE = 160
_LINE = 16


def write_contact_sheet(
    file: Path,
    folder: Path,
    names: Sequence[str],
    spacing: Sequence[float],
    labels: Sequence[str],
    has_images: bool = False,
) -> None:
    """Write a PNG with up to 24 volumes, evenly spaced in the order of the set.

    The sheet shows the axial slice with the most labels, with the patient's left side on the right.

    Args:
        file: path of the PNG.
        folder: folder of the prepared volumes.
        names: name of each volume.
        spacing: spacing of the prepared volumes in mm.
        labels: label names without the background.
        has_images: True if the volumes are two-dimensional images. Three channels are then colors.
    """
    store = VolumeStore(folder)
    rows = np.unique(np.linspace(0, len(store) - 1, min(_MAX, len(store))).astype(int)).tolist()
    columns = min(_COLUMNS, len(rows))
    n_lines = -(-len(rows) // columns)
    sheet = Image.new("RGB", (columns * _TILE, n_lines * (_TILE + _LINE) + _LINE), "white")
    pen = ImageDraw.Draw(sheet)
    for position, row in enumerate(rows):
        left, top = position % columns * _TILE, position // columns * (_TILE + _LINE)
        pen.text((left + 2, top + 2), _latin(names[row])[-24:], fill="black")
        image, mask = store.image(row), store.mask(row)
        z = fullest_slice(mask)
        has_colors = has_images and len(image) == CHANNELS
        shown = restore_colors(image, store.entries[row].quantiles) if has_colors else image[0]
        tile = draw_slice(shown[:, :, z], mask[:, :, z], (spacing[0], spacing[1]))
        sheet.paste(tile, (left + (_TILE - tile.width) // 2, top + _LINE + (_TILE - tile.height) // 2))
    left = 2
    for number, name in enumerate(labels):
        pen.text((left, n_lines * (_TILE + _LINE) + 2), _latin(name), fill=COLORS[number % len(COLORS)])
        left += 8 * len(name) + 12
    sheet.save(file, format="PNG")


def fullest_slice(mask: np.ndarray) -> int:
    """Return the index along Z of the slice with the most different labels.

    Of several such slices, the one with the most labeled voxels is returned. Without labels, it is the middle slice.
    """
    if not mask.any():
        return int(mask.shape[2] // 2)
    labels = np.unique(mask[mask > 0])
    counts = np.array([(mask == label).sum(axis=(0, 1)) for label in labels])
    *_, fullest = np.lexsort((counts.sum(0), (counts > 0).sum(0))).tolist()
    return int(fullest)


def draw_slice(image: np.ndarray, mask: np.ndarray, spacing: tuple[float, float]) -> Image.Image:
    """Draw a slice with the outline of each label.

    Args:
        image: (X, Y) normalized values, or uint8 (X, Y, 3) colors.
        mask: (X, Y) label numbers.
        spacing: spacing in mm along X and Y.

    Returns:
        An RGB image of at most 160 x 160 pixels. Its upper side is anterior.
    """
    drawn = image
    if image.ndim == 2:
        values = image.astype(np.float32)
        low, high = float(values.min()), float(values.max())
        drawn = np.clip(255 * (values - low) / max(high - low, 1e-6), 0, 255).astype(np.uint8)
    extent = np.array(image.shape[:2]) * spacing
    width, height = (max(1, round(_TILE * side / extent.max())) for side in extent)
    tile = Image.fromarray(_radiological(drawn)).resize((width, height), Image.Resampling.BICUBIC).convert("RGB")
    shown = np.asarray(Image.fromarray(_radiological(mask)).resize((width, height), Image.Resampling.NEAREST))
    pixels = np.array(tile)
    for label in np.unique(shown[shown > 0]).tolist():
        pixels[_outline(shown == label)] = COLORS[(label - 1) % len(COLORS)]
    return Image.fromarray(pixels)


def _radiological(plane: np.ndarray) -> np.ndarray:
    """Turn a slice (X to the patient's right, Y to the front) into an image with the front up and left on the right."""
    return np.ascontiguousarray(plane.swapaxes(0, 1)[::-1, ::-1])


def _outline(region: np.ndarray) -> np.ndarray:
    """Return the pixels of a region (H, W) that have a neighbor outside of it."""
    padded = np.pad(region, 1)
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    outline: np.ndarray = region & ~inside
    return outline


def _latin(text: str) -> str:
    """Return the text in ASCII, with ? for other letters, because Pillow's built-in font has Latin letters only."""
    return text.encode("ascii", "replace").decode()

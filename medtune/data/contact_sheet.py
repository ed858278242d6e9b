"""Contact sheet of a data set of images, and sample images to try an exported model (bundle) on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from medtune.data.class_selection import most_frequent

# Images per class, and sizes in pixels.
_COLUMNS = 8
_TILE = 128
_LINE = 16
# Sample images per class.
_FILES = 4


def write_contact_sheet(file: Path, images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Write a PNG with up to eight images per class, evenly spaced in the order of the set.

    Only the `class_selection.MAX_CLASSES` most frequent classes are shown. A last line counts the other classes.

    Args:
        file: path of the PNG.
        images: (n, H, W, 3) uint8.
        labels: (n,) class indices.
        classes: class names.
    """
    shown = most_frequent(np.bincount(labels, minlength=len(classes)))
    left_out = len(classes) - len(shown)
    height = len(shown) * (_TILE + _LINE) + _LINE * (left_out > 0)
    sheet = Image.new("RGB", (_COLUMNS * _TILE, height), "white")
    pen = ImageDraw.Draw(sheet)
    if left_out:
        text = f"{left_out:,} other classes, with fewer images, are not shown"
        pen.text((2, height - _LINE + 2), text, fill="black")
    for line, label in enumerate(shown.tolist()):
        rows = np.flatnonzero(labels == label)
        top = line * (_TILE + _LINE)
        # Pillow's built-in font has Latin letters only.
        title = f"{classes[label]}: {len(rows)} images".encode("ascii", "replace").decode()
        pen.text((2, top + 2), title, fill="black")
        for column, row in enumerate(rows[np.unique(np.linspace(0, len(rows) - 1, _COLUMNS).astype(int))]):
            tile = Image.fromarray(images[row]).resize((_TILE, _TILE), Image.Resampling.BICUBIC)
            sheet.paste(tile, (column * _TILE, top + _LINE))
    sheet.save(file, format="PNG")


def write_sample_files(
    folder: Path, images: np.ndarray, labels: np.ndarray, classes: Sequence[str], rows: np.ndarray
) -> None:
    """Write up to four packed images per class to `<folder>/<class>-<row>.png`.

    Only the `class_selection.MAX_CLASSES` classes with the most images in `rows` are written.

    Args:
        folder: folder to create.
        images: (n, H, W, 3) uint8.
        labels: (n,) class indices.
        classes: class names.
        rows: indices of the images to choose from, for example the test images.
    """
    folder.mkdir()
    for label in most_frequent(np.bincount(labels[rows], minlength=len(classes))).tolist():
        safe_name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in classes[label])
        for row in rows[labels[rows] == label][:_FILES]:
            Image.fromarray(images[row]).save(folder / f"{safe_name}-{row}.png")

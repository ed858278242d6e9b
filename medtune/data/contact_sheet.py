"""Samples to look at: a contact sheet, and a few images as files to try the finished bundle on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

_COLUMNS = 8
_TILE = 128
_LINE = 16
_FILES = 4


def write_contact_sheet(file: Path, images: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> None:
    """Writes a PNG with up to eight images of each class, evenly spaced through the set.

    Args:
        file: where to.
        images: uint8 (n, H, W, 3).
        labels: (n,) class indices.
        classes: class names.
    """
    sheet = Image.new("RGB", (_COLUMNS * _TILE, len(classes) * (_TILE + _LINE)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, name in enumerate(classes):
        rows = np.flatnonzero(labels == number)
        top = number * (_TILE + _LINE)
        # Pillow's built-in font knows Latin letters only.
        title = f"{name}: {len(rows)} images".encode("ascii", "replace").decode()
        pen.text((2, top + 2), title, fill="black")
        for column, row in enumerate(rows[np.unique(np.linspace(0, len(rows) - 1, _COLUMNS).astype(int))]):
            tile = Image.fromarray(images[row]).resize((_TILE, _TILE), Image.Resampling.BICUBIC)
            sheet.paste(tile, (column * _TILE, top + _LINE))
    sheet.save(file, format="PNG")


def write_sample_files(
    folder: Path, images: np.ndarray, labels: np.ndarray, classes: Sequence[str], rows: np.ndarray
) -> None:
    """Writes up to four images of each class, as they were packed, as `<folder>/<class>-<row>.png`.

    Args:
        folder: made here.
        images: uint8 (n, H, W, 3).
        labels: (n,) class indices.
        classes: class names.
        rows: which images to choose from, the test images say.
    """
    folder.mkdir()
    for number, name in enumerate(classes):
        safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
        for row in rows[labels[rows] == number][:_FILES]:
            Image.fromarray(images[row]).save(folder / f"{safe}-{row}.png")

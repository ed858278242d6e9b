"""Small synthetic slides for examples and tests: pyramidal TIFF files with H&E-like tissue on bare glass."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEMATOXYLIN, EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])
_TILE = 256


def draw_slide(seed: int, side: int, kind: int) -> np.ndarray:
    """Draw a slide.

    Args:
        seed: seed of all random numbers.
        side: width and height in pixels.
        kind: pattern of the tissue. 0: scattered small nuclei; 1: fibers in one direction; 2: large clumps of nuclei.

    Returns:
        (side, side, 3) uint8 image.
    """
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    angle = np.arctan2(y - 0.5, x - 0.5)
    radius = 0.33 + 0.06 * np.sin(3 * angle + draw.uniform(0, 6)) + 0.03 * np.sin(7 * angle + draw.uniform(0, 6))
    inside = np.hypot(y - 0.5, x - 0.5) < radius
    if kind == 1:
        turn = draw.uniform(0, np.pi)
        nuclei = 0.5 + 0.5 * np.sin((x * np.cos(turn) + y * np.sin(turn)) * side / 2.5)
    else:
        period = 3 if kind == 0 else 12
        cells = draw.random((side // period + 2, side // period + 2)) > 0.6
        shape = (cells.shape[1] * period, cells.shape[0] * period)
        grown = np.asarray(Image.fromarray(cells.astype(np.uint8) * 255).resize(shape, Image.Resampling.BICUBIC))
        nuclei = grown[:side, :side] / 255
    strength = draw.uniform(0.8, 1.2)
    density = strength * inside[..., None] * (0.9 * nuclei[..., None] * HEMATOXYLIN + 0.45 * EOSIN)
    light = 243 * np.exp(-density) + draw.normal(0, 2.5, (side, side, 1))
    image: np.ndarray = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    return image


def write_slide(
    path: Path, seed: int, side: int = 2048, kind: int | None = None, mpp: float | None = 0.5, levels: int = 3
) -> np.ndarray:
    """Write a pyramidal TIFF and return the pixels of its level 0.

    Args:
        path: file to write; its folder is created.
        seed: seed of the drawing.
        side: width and height of level 0 in pixels.
        kind: see `draw_slide`; None: 0 for an even seed, 1 for an odd one.
        mpp: micrometers per pixel to store in the file; None: none is stored.
        levels: number of levels; each has half the width and height of the previous level.

    Returns:
        (side, side, 3) uint8 image of level 0.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    image = draw_slide(seed, side, seed % 2 if kind is None else kind)
    write_pyramid(path, image, mpp, levels)
    return image


def write_pyramid(path: Path, image: np.ndarray, mpp: float | None, levels: int) -> None:
    """Write an image as a pyramidal TIFF. `write_slide` explains the other arguments."""
    import tifffile

    unit: dict[str, Any] = {"resolution": (10_000 / mpp, 10_000 / mpp), "resolutionunit": "CENTIMETER"} if mpp else {}
    options: dict[str, Any] = {"tile": (_TILE, _TILE), "photometric": "rgb", "compression": "zlib", "metadata": None}
    with tifffile.TiffWriter(path) as out:
        out.write(image, subifds=levels - 1, **options, **unit)
        level = Image.fromarray(image)
        for _ in range(levels - 1):
            level = level.reduce(2)
            out.write(np.asarray(level), subfiletype=1, **options)

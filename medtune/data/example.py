"""Random images for the example data sets of sources."""

from pathlib import Path

import numpy as np


def write_image(file: Path, seed: int) -> None:
    """Write a random RGB image of 14 x 10 pixels, and create its folder."""
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (10, 14, 3), np.uint8)).save(file)

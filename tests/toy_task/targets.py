"""Target: a mask of the dark pixels, (H, W) uint8, drawn from the image itself."""

from collections.abc import Sequence

import numpy as np

from medtune.config.data import DataParams
from medtune.data.sample import Sample
from medtune.serving.resize import resize_square

MIN_CLASSES = 1
HAS_POSITIVE = False


def check(records: Sequence[Sample]) -> None:
    """Accept every record."""


def encode(record: Sample, data: DataParams) -> np.ndarray:
    """1 where a pixel is darker than 160."""
    assert record.read is not None
    return (resize_square(record.read(), data.image_size, data.resize).mean(axis=2) < 160).astype(np.uint8)

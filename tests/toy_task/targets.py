"""Target: mask (H, W) uint8 of the dark pixels, computed from the image."""

from collections.abc import Sequence

import numpy as np

from medtune.config.data import DataParams
from medtune.data.sample import Sample
from medtune.serving.resize import resize_square

MIN_CLASSES = 1
HAS_POSITIVE = False


def check(samples: Sequence[Sample]) -> None:
    """Accept all samples."""


def encode(record: Sample, data: DataParams) -> np.ndarray:
    """Return 1 for pixels darker than 160, otherwise 0."""
    assert record.read is not None
    return (resize_square(record.read(), data.image_size, data.resize).mean(axis=2) < 160).astype(np.uint8)

"""Targets: (findings,) uint8, 1 where the image shows the finding."""

from collections.abc import Sequence

import numpy as np

from medtune.config.data import DataParams
from medtune.config.errors import InputError
from medtune.data.sample import Sample

MIN_CLASSES = 1
HAS_POSITIVE = False


def check(samples: Sequence[Sample]) -> None:
    """Refuse samples whose findings are not known.

    Raises:
        InputError: a sample has one class instead.
    """
    if without := [sample for sample in samples if sample.findings is None or sample.target is None]:
        raise InputError(f"task.kind=multilabel: {without[0].path} has one class. Use task.kind=classification")


def encode(sample: Sample, data: DataParams) -> np.ndarray:
    """The sample's own target: turning or shifting an image leaves its findings as they are."""
    assert sample.target is not None  # `check` was called
    return sample.target()

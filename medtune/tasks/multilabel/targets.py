"""Multilabel targets: (findings,) uint8, 1 if the image shows the finding."""

from collections.abc import Sequence

import numpy as np

from medtune.config.data import DataParams
from medtune.config.errors import InputError
from medtune.data.sample import Sample

MIN_CLASSES = 1
HAS_POSITIVE = False


def check(samples: Sequence[Sample]) -> None:
    """Check that all samples have findings.

    Args:
        samples: all samples of the dataset.

    Raises:
        InputError: a sample has a single class.
    """
    invalid = next((sample for sample in samples if sample.findings is None or sample.target is None), None)
    if invalid:
        raise InputError(
            f"task.kind=multilabel: {invalid.path} has a single class, not a set of findings. "
            "Use task.kind=classification"
        )


def encode(sample: Sample, data: DataParams) -> np.ndarray:
    """Return the target of the sample, which augmentation does not change."""
    assert sample.target is not None  # checked by `check`
    return sample.target()

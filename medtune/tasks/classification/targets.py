"""Targets of a classifier: the label of each sample."""

from collections.abc import Sequence

from medtune.config.data import DataParams
from medtune.data.sample import Sample

MIN_CLASSES = 2
HAS_POSITIVE = True


def check(samples: Sequence[Sample]) -> None:
    """Accept all samples, because the data source has already checked their labels."""


def encode(sample: Sample, data: DataParams) -> None:
    """Return None, because the label's index is the target."""

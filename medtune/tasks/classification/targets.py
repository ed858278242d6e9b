"""Targets of a classifier: each record's label."""

from collections.abc import Sequence

from medtune.config.data import DataParams
from medtune.data.sample import Sample

MIN_CLASSES = 2
HAS_POSITIVE = True


def check(samples: Sequence[Sample]) -> None:
    """Accept every record: the source checked its label."""


def encode(sample: Sample, data: DataParams) -> None:
    """None: the label's index is the target."""

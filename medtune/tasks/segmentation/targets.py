"""Targets of a segmentation. The targets are the masks, which the stage `data` stores together with the volumes."""

from collections.abc import Sequence

from medtune.config.data import DataParams
from medtune.config.errors import InputError
from medtune.data.sample import Sample

MIN_CLASSES = 1
HAS_POSITIVE = False


def check(samples: Sequence[Sample]) -> None:
    """Check that all samples are volumes.

    Args:
        samples: all samples of the dataset.

    Raises:
        InputError: a sample is not a volume.
    """
    image = next((sample for sample in samples if sample.volume is None), None)
    if image is not None:
        raise InputError(
            f"task.kind=segmentation: {image.path} is an image, not a volume with a mask. Set data.source to a source "
            "of volumes, such as decathlon, nnunet or volumes"
        )


def encode(sample: Sample, data: DataParams) -> None:
    """Return None, because the target is the mask."""

"""Volumes and masks of a sample, as files or drawn."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

# Value of `Sample.label` if the source knows no property to stratify the volumes by.
NO_STRATUM = "volume"


class DrawnVolume(NamedTuple):
    """Volume in the orientation of its affine, as a file stores it.

    Attributes:
        image: (C, X, Y, Z) float32 intensities, one volume per channel.
        mask: (X, Y, Z) uint8 label numbers; 0 is the background.
        affine: (4, 4) float64, maps voxel indices to RAS millimeters.
    """

    image: np.ndarray
    mask: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class VolumeFiles:
    """Files of one volume, or the function that draws it.

    Attributes:
        channels: one file per channel, in channel order, or one file that contains all channels in its fourth axis.
            Empty for a drawn volume.
        mask: file with the label numbers; None if the volume is drawn or has no mask.
        spacing: millimeters per voxel along the stored axes, if the data set states it next to the file. None: the
            header of the file states it.
        read: function that draws the volume and its mask; None if they are files.
    """

    channels: tuple[Path, ...] = ()
    mask: Path | None = None
    spacing: tuple[float, float, float] | None = None
    read: Callable[[], DrawnVolume] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Check that the volume is either drawn or in files.

        Raises:
            ValueError: both or none of `channels` and `read` are given, or a drawn volume has a mask file.
        """
        if bool(self.channels) == (self.read is not None):
            raise ValueError("exactly one of channels and read is needed")
        if self.read is not None and self.mask is not None:
            raise ValueError("a drawn volume draws its mask")

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of all channels and of the mask."""
        return self.channels if self.mask is None else (*self.channels, self.mask)

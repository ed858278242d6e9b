"""Volume and mask of a sample: their files, or the function that generates them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

# Value of `Sample.label` if the source knows no property by which the volumes can be stratified.
NO_STRATUM = "volume"


class DrawnVolume(NamedTuple):
    """Synthetic volume. Its affine states its orientation.

    Attributes:
        image: (C, X, Y, Z) float32 intensities of C channels.
        mask: (X, Y, Z) uint8 label numbers; 0 is the background.
        affine: (4, 4) float64, maps voxel indices to millimeters along the RAS axes (right, anterior, superior).
    """

    image: np.ndarray
    mask: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class VolumeFiles:
    """Files of one volume, or the function that generates it.

    Attributes:
        channels: one file per channel, in channel order, or one file with all channels: in the fourth
            axis of a volume, or the colors of an image. Empty for a synthetic volume and a series.
        mask: file with the label numbers; None if the volume is synthetic or has no mask.
        spacing: millimeters per voxel along the axes of the file, if a table states them. None: the header of the file
            states them.
        read: function that generates the volume and its mask; None if they are files.
        series: folder of a DICOM series, which is one channel; None for other volumes.
        is_image: True if `channels` is a single two-dimensional image, such as a PNG file: a volume of one slice.
        mask_values: pairs (value in the mask, label number) for images; None if the mask contains label numbers.
    """

    channels: tuple[Path, ...] = ()
    mask: Path | None = None
    spacing: tuple[float, float, float] | None = None
    read: Callable[[], DrawnVolume] | None = field(default=None, compare=False)
    series: Path | None = None
    is_image: bool = False
    mask_values: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        """Check that the volume is either synthetic or in files.

        Raises:
            ValueError: not exactly one of `channels`, `series` and `read` is given, or a synthetic volume has a mask
                file.
        """
        if [bool(self.channels), self.series is not None, self.read is not None].count(True) != 1:
            raise ValueError("exactly one of channels, series and read is needed")
        if self.read is not None and self.mask is not None:
            raise ValueError("a drawn volume must not have a mask file")

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of all channels, or of the series, and of the mask."""
        images = self.channels if self.series is None else self.slices
        return images if self.mask is None else (*images, self.mask)

    def link_outside(self, root: Path) -> Path | None:
        """Return the first slice of a series that is a link to a file outside of the data root."""
        real = root.resolve()
        outside = (path for path in self.slices if path.is_symlink() and not path.resolve().is_relative_to(real))
        return next(outside, None)

    @property
    def slices(self) -> tuple[Path, ...]:
        """The files in the folder of the series, sorted; empty for other volumes."""
        if self.series is None:
            return ()
        return tuple(sorted(path for path in self.series.rglob("*") if path.is_file()))

"""Formats in which `medtune predict` writes label maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from medtune.serving.volumes import image_file
from medtune.serving.volumes.cases import OUTPUT_SUFFIX, Case
from medtune.serving.volumes.segmented import SegmentedVolume


class LabelMapFormat(Protocol):
    """A file format of label maps."""

    @property
    def suffix(self) -> str:
        """Suffix of the files."""

    def check(self, cases: Sequence[Case], out: Path) -> None:
        """Check all inputs before the first prediction.

        Args:
            cases: the volumes.
            out: folder of the results.

        Raises:
            medtune.serving.manifest.BundleError: the format cannot be written for these inputs.
        """

    def read_source(self, case: Case) -> Any:
        """Read what the file needs from the input besides the label map.

        Args:
            case: the volume.

        Returns:
            The argument `source` of `write`.

        Raises:
            medtune.serving.pixels.DecodeError: the input lacks something. The message names the file.
        """

    def write(self, path: Path, result: SegmentedVolume, source: Any) -> None:
        """Write a label map.

        Args:
            path: the file, with `suffix`.
            result: the label map.
            source: result of `read_source`.

        Raises:
            medtune.serving.manifest.BundleError: the file cannot be written.
            medtune.serving.pixels.DecodeError: the format cannot represent the label map.
        """


class NiftiFormat:
    """NIfTI file on the grid of the input, with its affine, qform, sform and units."""

    suffix = OUTPUT_SUFFIX

    def check(self, cases: Sequence[Case], out: Path) -> None:
        """Accept every input."""

    def read_source(self, case: Case) -> None:
        """Read nothing, because the grid of a result is sufficient."""

    def write(self, path: Path, result: SegmentedVolume, source: None) -> None:
        """Write a label map (see `LabelMapFormat.write`)."""
        result.save(path)


class PngFormat(NiftiFormat):
    """Gray PNG file of an image, upright and with the label number of each pixel."""

    suffix = image_file.OUTPUT_SUFFIX

"""Formats in which `medtune predict` writes label maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from medtune.serving.volumes.cases import Case
from medtune.serving.volumes.segmented import SegmentedVolume


class LabelMapFormat(Protocol):
    """A file format of label maps."""

    def prepare(self, cases: Sequence[Case], out: Path) -> list[Case]:
        """Check all inputs before the first prediction.

        Args:
            cases: the volumes.
            out: folder of the results.

        Returns:
            The cases with the suffix of the format.

        Raises:
            medtune.serving.manifest.BundleError: the format cannot be written for these inputs.
        """

    def read_source(self, case: Case) -> Any:
        """Read what `write` needs from the input in addition to the label map.

        Args:
            case: the volume.

        Returns:
            The argument `source` of `write`.

        Raises:
            medtune.serving.pixels.DecodeError: the input lacks data that `write` needs. The message names the file.
        """

    def write(self, path: Path, result: SegmentedVolume, source: Any) -> None:
        """Write a label map.

        Args:
            path: the file, with the suffix of the format.
            result: the label map.
            source: result of `read_source`.

        Raises:
            medtune.serving.manifest.BundleError: the file cannot be written.
            medtune.serving.pixels.DecodeError: the format cannot represent the label map.
        """


class DefaultFormat:
    """Format of `SegmentedVolume.save`: NIfTI files on the grid of the input, or PNG files for images."""

    def prepare(self, cases: Sequence[Case], out: Path) -> list[Case]:
        """Accept every input."""
        return list(cases)

    def read_source(self, case: Case) -> None:
        """Read nothing, because the grid of a result is sufficient."""

    def write(self, path: Path, result: SegmentedVolume, source: None) -> None:
        """Write a label map (see `LabelMapFormat.write`)."""
        result.save(path)

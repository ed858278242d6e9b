"""Files under the data root that no sample uses, counted by folder and type."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from medtune.data.listing import sample_files, scan_root
from medtune.data.sample import Sample
from medtune.serving.folder_scan import count_types, file_type, format_counts, printable
from medtune.serving.masks import find_masks

# Examples in report.json, and folders in a message.
_FIRST = 20
_SHOWN = 6


@dataclass(frozen=True)
class LeftOut:
    """Files that no sample uses.

    Attributes:
        files: number of files by folder and type. The key of the data root is an empty string.
        system: number of hidden files and files of the operating system, by type.
        images: paths of image files without a sample.
        table: name of the table that lists the images; empty if class folders contain them.
    """

    files: dict[str, dict[str, int]] = field(default_factory=dict)
    system: dict[str, int] = field(default_factory=dict)
    images: tuple[str, ...] = ()
    table: str = ""

    def lines(self) -> list[str]:
        """Return a summary for the user, one line per kind of file."""
        lines = []
        if self.files:
            folders = sorted(self.files, key=lambda folder: (not folder, folder))  # the data root itself last
            parts = [f"{format_counts(self.files[folder])} in {folder or 'data.root itself'}" for folder in folders]
            more = f"; and {len(parts) - _SHOWN} more folders" if len(parts) > _SHOWN else ""
            lines.append(f"left out: {'; '.join(parts[:_SHOWN])}{more}")
        if self.images and self.table:
            count, example = len(self.images), self.images[0]
            lines.append(f"{count:,} images are not listed in {self.table} and are not used, for example {example}")
        if self.system:
            lines.append(f"system files left out: {format_counts(self.system)}")
        return lines

    def report(self) -> dict[str, Any]:
        """Return the entry `left_out` of report.json."""
        return {
            "summary": self.lines(),
            "files": self.files,
            "system_files": self.system,
            "unused_images": {"count": len(self.images), "first": list(self.images[:_FIRST])},
        }


def count_left_out(
    samples: Sequence[Sample], root: Path | None, inputs: Iterable[Path], table: str = "", by_split: bool = False
) -> LeftOut:
    """Count the files under the data root that no sample uses.

    Args:
        samples: the samples of the source.
        root: the data root. Nothing is counted if it is not a folder, or if samples are not files.
        inputs: further files that the source reads.
        table: name of the table that lists the images; empty if class folders contain them.
        by_split: True if class folders are inside split folders.

    Returns:
        The unused files.
    """
    if root is None or not root.is_dir() or any(map(_is_drawn, samples)):
        return LeftOut()
    content = scan_root(root)
    used = {file for sample in samples for file in sample_files(sample, root)}
    if used and not any(path.is_relative_to(root) for path in used):  # unpacked from an archive
        return LeftOut()
    used.update(inputs)
    images = [path for path in content.images if root / path not in used]
    others = [path for path in content.others if root / path not in used]
    by_folder: defaultdict[str, list[str]] = defaultdict(list)
    for path in [*others, *([] if table else images)]:
        parts = PurePosixPath(path).parts[:-1]
        by_folder[printable("/".join(parts[: 2 if by_split else 1]))].append(path)
    masks = set(find_masks(content.images)) & set(images)
    files = {
        folder: dict(sorted(Counter(file_type(path) + " masks" * (path in masks) for path in paths).items()))
        for folder, paths in sorted(by_folder.items())
    }
    return LeftOut(files, count_types(content.system), tuple(map(printable, images)), table)


def _is_drawn(sample: Sample) -> bool:
    """Return True if a function returns the pixels or voxels, so the sample has no file."""
    return sample.read is not None or (sample.volume is not None and sample.volume.read is not None)

"""Inspection of all volumes before the first one is prepared, so that problems are reported early."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from medtune.data.sample import Sample
from medtune.data.volume_files import VolumeFiles
from medtune.data.volume_params import VolumeIntensityParams
from medtune.data.volume_reading import LabeledVolume, check_headers, read_labeled
from medtune.runtime.progress import progress
from medtune.serving.folder_scan import printable
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.resampling import Shape, Spacing
from medtune.serving.volumes.volume_intensity import PER_VOLUME, PERCENTILES

# Percentiles of the values of each channel. With them, a model recognizes volumes that differ from the training data.
QUANTILES = (5.0, 25.0, 50.0, 75.0, 95.0)

T = TypeVar("T")


@dataclass(frozen=True)
class VolumeFacts:
    """Properties of a valid volume.

    Attributes:
        shape: voxels per axis, after the axes were reordered to RAS (right, anterior, superior).
        spacing: mm per voxel along the RAS axes.
        affine: (4, 4), maps voxel indices in RAS to mm.
        orientation: orientation of the axes in the file, for example LPS.
        voxels: number of voxels of each label, without the background.
        quantiles: `QUANTILES` of the values of each channel.
        ranges: difference between the percentiles 99.5 and 0.5 of each channel.
        limits: smallest and largest value of each channel.
        sha256: digest of the values in RAS, hexadecimal.
        mask_sha256: digest of the mask in RAS, hexadecimal.
    """

    shape: Shape
    spacing: Spacing
    affine: tuple[tuple[float, ...], ...]
    orientation: str
    voxels: tuple[int, ...]
    quantiles: tuple[tuple[float, ...], ...]
    ranges: tuple[float, ...]
    limits: tuple[tuple[float, float], ...]
    sha256: str
    mask_sha256: str


@dataclass(frozen=True)
class Inspection:
    """Result of `inspect_headers` and `inspect_volumes`.

    Attributes:
        selected: indices of the valid volumes, ascending.
        rejected: (path, problem) of each other volume.
        facts: one per valid volume; empty if only headers were inspected.
    """

    selected: tuple[int, ...]
    rejected: tuple[tuple[str, str], ...]
    facts: tuple[VolumeFacts, ...] = ()


def inspect_headers(samples: Sequence[Sample], root: Path | None, channels: int) -> Inspection:
    """Check the headers of all files, without reading voxels.

    Args:
        samples: the volumes.
        root: the data root, which is removed from messages; None if the volumes are not files.
        channels: number of channels of the data set.

    Returns:
        The valid volumes, without their properties. All files of a valid volume have the same grid.
    """
    return _inspect(samples, root, lambda sample: check_headers(volume_files(sample), channels))[0]


def inspect_volumes(
    samples: Sequence[Sample],
    root: Path | None,
    channels: int,
    labels: int,
    rule: VolumeIntensityParams,
    read: Callable[[Sample], LabeledVolume] | None = None,
    unit: str = "volumes",
) -> Inspection:
    """Read all volumes, one at a time, and check their values and labels.

    Args:
        samples: volumes with valid headers.
        root: the data root, which is removed from messages; None if the volumes are not files.
        channels: number of channels of the data set.
        labels: number of labels without the background.
        rule: section `data.intensity` of params.yaml.
        read: function that reads a volume; None for `read_labeled`.
        unit: plural word for the volumes in messages.

    Returns:
        The valid volumes and their properties.
    """

    def inspect(sample: Sample) -> VolumeFacts:
        volume = read(sample) if read else read_labeled(volume_files(sample), channels, labels)
        facts = describe(volume, labels)
        if problem := _find_problem(facts, rule):
            raise DecodeError(problem)
        return facts

    with progress(f"check {unit}", len(samples), unit) as advance:
        result, facts = _inspect(samples, root, inspect, advance)
    return Inspection(result.selected, result.rejected, tuple(facts))


def describe(volume: LabeledVolume, labels: int) -> VolumeFacts:
    """Return the properties of a volume; `labels` is the number of labels without the background."""
    x, y, z = volume.mask.shape
    percentiles = [
        np.percentile(channel, (PERCENTILES[0], *QUANTILES, PERCENTILES[1])).tolist() for channel in volume.image
    ]
    return VolumeFacts(
        shape=(x, y, z),
        spacing=volume.spacing,
        affine=tuple(tuple(row) for row in volume.affine.tolist()),
        orientation=volume.orientation,
        voxels=tuple(np.bincount(volume.mask.ravel(), minlength=labels + 1)[1:].tolist()),
        quantiles=tuple(tuple(values[1:-1]) for values in percentiles),
        ranges=tuple(values[-1] - values[0] for values in percentiles),
        limits=tuple((float(channel.min()), float(channel.max())) for channel in volume.image),
        sha256=array_sha256(volume.image),
        mask_sha256=array_sha256(volume.mask),
    )


def pixel_mm(facts: Sequence[VolumeFacts]) -> list[float] | None:
    """Return the pixel spacing [x, y] in mm if it is the same in all images, otherwise None."""
    spacings = {fact.spacing[:2] for fact in facts}
    return list(spacings.pop()) if len(spacings) == 1 else None


def file_problem(error: DecodeError, sample: Sample, root: Path | None) -> str:
    """Return the message of an error without the data root and without the path of the sample."""
    prefixes = [f"{printable(str(root))}{os.sep}"] if root is not None else []
    text = str(error)
    for prefix in [*prefixes, f"{printable(sample.path)}: "]:
        text = text.removeprefix(prefix)
    return text


def _inspect(
    samples: Sequence[Sample],
    root: Path | None,
    inspect: Callable[[Sample], T],
    advance: Callable[..., None] = lambda by, note: None,
) -> tuple[Inspection, list[T]]:
    """Inspect each volume.

    Args:
        samples: the volumes.
        root: the data root, which is removed from messages.
        inspect: function that raises DecodeError for an invalid volume.
        advance: function that is called after each volume, to show the progress.

    Returns:
        Valid and rejected volumes, and the result of `inspect` for each valid volume.
    """
    selected, results, rejected = [], [], []
    for position, sample in enumerate(samples):
        try:
            results.append(inspect(sample))
            selected.append(position)
        except DecodeError as error:
            rejected.append((sample.path, file_problem(error, sample, root)))
        advance(1, f"{len(rejected)} unusable" if rejected else "")
    return Inspection(tuple(selected), tuple(rejected)), results


def volume_files(sample: Sample) -> VolumeFiles:
    """Return the volume of a sample, which the task has checked."""
    assert sample.volume is not None
    return sample.volume


def _find_problem(facts: VolumeFacts, rule: VolumeIntensityParams) -> str | None:
    """Return why the rule cannot normalize a volume, or None if it can."""
    if rule.rule in PER_VOLUME and 0 in facts.ranges:
        return "constant: 99 % of the voxels have the same value"
    if rule.rule == "window" and rule.level is not None and rule.width is not None:
        return outside(facts, [(rule.level - rule.width / 2, rule.level + rule.width / 2)] * len(facts.limits))
    return None


def outside(facts: VolumeFacts, windows: Iterable[tuple[float, float]]) -> str | None:
    """Return a message if all values of a channel are outside of its window (low, high), otherwise None."""
    for (lowest, highest), (low, high) in zip(facts.limits, windows, strict=True):
        if highest <= low or lowest >= high:
            return f"the values {lowest:g} to {highest:g} are outside of the window {low:g} to {high:g}"
    return None


def array_sha256(array: np.ndarray) -> str:
    """Return the digest of the shape and the values of an array, hexadecimal."""
    digest = hashlib.sha256(str(array.shape).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()

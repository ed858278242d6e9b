"""Normalization by the rule `foreground`, whose numbers depend on the training volumes, and a check of their scale."""

from collections.abc import Iterable, Mapping

import numpy as np

from medtune.config.errors import InputError
from medtune.serving.volumes.volume_intensity import PER_VOLUME, PERCENTILES, Rule, VolumeIntensity

# The ranges of volumes with a common unit, such as Hounsfield units, differ by a smaller factor.
MAX_RANGE_RATIO = 50.0
# Foreground voxels that a volume contributes at most.
_SAMPLES = 10_000
_FIX = "Set data.intensity.rule=zscore"


def value_range(channel: np.ndarray) -> float:
    """Return the difference between the percentiles 99.5 and 0.5 of a channel (X, Y, Z)."""
    low, high = np.percentile(channel, PERCENTILES).tolist()
    return float(high - low)


def check_scale(rule: Rule, ranges: Mapping[str, float]) -> None:
    """Check that all volumes have the same scale. Rules with separate numbers for each volume do not need this.

    Args:
        rule: the rule.
        ranges: `value_range` of one channel, by name of the training volume.

    Raises:
        InputError: the ranges differ by more than the factor `MAX_RANGE_RATIO`. The message names two volumes.
    """
    if rule in PER_VOLUME or not ranges:
        return
    narrow, wide = min(ranges, key=ranges.__getitem__), max(ranges, key=ranges.__getitem__)
    if ranges[wide] > MAX_RANGE_RATIO * ranges[narrow]:
        raise InputError(
            f"data.intensity.rule={rule}: the volumes have different scales. 99 % of the values span "
            f"{ranges[narrow]:g} in {narrow} and {ranges[wide]:g} in {wide}. {_FIX}"
        )


def fit_foreground(volumes: Iterable[tuple[str, np.ndarray, np.ndarray]], seed: int) -> tuple[VolumeIntensity, ...]:
    """Determine the numbers of the rule `foreground`.

    The numbers are the percentiles 0.5 and 99.5, the mean and the standard deviation of foreground voxels (Isensee et
    al., nnU-Net, Nature Methods 18:203, 2021). Each volume contributes at most 10,000 random foreground voxels, so
    that large structures of one patient do not dominate. One volume at a time is in memory.

    Args:
        volumes: name, image (C, X, Y, Z) and mask (X, Y, Z) of each training volume. Labels above 0 are foreground.
        seed: seed of the selection.

    Returns:
        The rule with its numbers, for each channel.

    Raises:
        InputError: no volume has foreground, the foreground is constant, or the volumes have different scales or
            numbers of channels.
    """
    samples: list[np.ndarray] = []
    ranges: list[dict[str, float]] = []
    for number, (name, image, mask) in enumerate(volumes):
        ranges = ranges or [{} for _ in image]
        if len(image) != len(ranges):
            raise InputError(
                f"data.root: {name} has {len(image)} channels, and earlier volumes have {len(ranges)}. "
                "Use volumes with the same channels"
            )
        for channel, values in zip(image, ranges, strict=True):
            values[name] = value_range(channel)
        foreground = np.flatnonzero(mask)
        if len(foreground) > _SAMPLES:
            foreground = np.random.default_rng([seed, number]).choice(foreground, _SAMPLES, replace=False)
        samples.append(image.reshape(len(image), -1)[:, foreground].astype(np.float64))
    if not samples or not any(sample.size for sample in samples):
        raise InputError(f"data.intensity.rule=foreground: no training volume has a label above 0. {_FIX}")
    for values in ranges:
        check_scale("foreground", values)
    return tuple(_rule(values) for values in np.concatenate(samples, axis=1))


def _rule(values: np.ndarray) -> VolumeIntensity:
    """Return the rule with the numbers of the foreground voxels of one channel."""
    low, high = np.percentile(values, PERCENTILES).tolist()
    if low >= high:
        raise InputError(
            f"data.intensity.rule=foreground: 99 % of the foreground voxels of the training volumes are {low:g}. {_FIX}"
        )
    return VolumeIntensity("foreground", low, high, float(values.mean()), float(values.std()))

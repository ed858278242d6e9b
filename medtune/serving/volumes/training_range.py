"""Range of spacing, field of view and intensity of the training volumes, and differences of a volume from it.

A difference does not make a segmentation wrong. It shows that the reported metrics may not hold for the volume.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medtune.serving.field_error import FieldError
from medtune.serving.volumes.volume_intensity import PER_VOLUME, VolumeIntensity

PERCENTILES = (5, 25, 50, 75, 95)
# A spacing or field of view is unusual if it is outside of the training range by more than this factor.
FACTOR = 1.25
# A percentile of the intensity is unusual if it is outside by more than this fraction of the range of all percentiles.
MARGIN = 0.25
# Voxels that are read for the percentiles. The rest is skipped at equal distances.
MAX_VOXELS = 2_000_000

Range = tuple[float, float]
_AXES = "xyz"


@dataclass(frozen=True)
class TrainingRange:
    """Smallest and largest values of the training volumes, in RAS.

    Attributes:
        spacing: spacing in mm for X, Y and Z.
        extent_mm: field of view in mm for X, Y and Z: number of voxels times spacing.
        intensity: for each channel, the `PERCENTILES` of the values in the files.
        contrast: for each channel, the percentiles 25, 50 and 75 on a scale where percentile 5 is 0 and percentile 95
            is 1. Rules `zscore` and `minmax` adapt to the scale of a file, so only these numbers are compared.
    """

    spacing: tuple[Range, ...]
    extent_mm: tuple[Range, ...]
    intensity: tuple[tuple[Range, ...], ...]
    contrast: tuple[tuple[Range, ...], ...]

    @classmethod
    def measure(
        cls,
        shapes: Sequence[Sequence[int]],
        spacings: Sequence[Sequence[float]],
        quantiles: Sequence[Sequence[Sequence[float]]],
    ) -> "TrainingRange":
        """Measure the range of n volumes.

        Args:
            shapes: (n, 3) voxels per axis of the files.
            spacings: (n, 3) spacing in mm.
            quantiles: (n, C, 5) `PERCENTILES` of each channel.

        Returns:
            The range.
        """
        spacing, values = np.asarray(spacings, np.float64), np.asarray(quantiles, np.float64)
        contrast = np.array([[contrast_of(channel) for channel in volume] for volume in values])
        return cls(
            _ranges(spacing),
            _ranges(spacing * np.asarray(shapes)),
            tuple(_ranges(values[:, channel]) for channel in range(values.shape[1])),
            tuple(_ranges(contrast[:, channel]) for channel in range(values.shape[1])),
        )

    @classmethod
    def from_document(cls, values: Any, channels: int) -> "TrainingRange":
        """Parse the result of `document`.

        Args:
            values: entry `volumes.training_range` of bundle.json.
            channels: number of channels.

        Returns:
            The range.

        Raises:
            FieldError: a field is missing or not a list of ranges.
        """
        shapes = {"spacing": (3, 2), "extent_mm": (3, 2), "intensity": (channels, len(PERCENTILES), 2),
                  "contrast": (channels, len(PERCENTILES) - 2, 2)}  # fmt: skip
        fields = {}
        for name, shape in shapes.items():
            found = values.get(name) if isinstance(values, Mapping) else None
            try:
                array = np.asarray(found, np.float64)
            except (ValueError, TypeError):
                array = np.empty(0)
            if array.shape != shape or not np.isfinite(array).all() or (array[..., 0] > array[..., 1]).any():
                raise FieldError(f"training_range.{name}", found, f"ascending pairs of shape {shape}")
            fields[name] = _tuples(array.tolist())
        return cls(**fields)

    def document(self) -> dict[str, Any]:
        """Return the JSON values for bundle.json."""
        return asdict(self)

    def differences(
        self,
        shape: Sequence[int],
        spacing: Sequence[float],
        quantiles: Sequence[Sequence[float]],
        channels: Sequence[str],
        rules: Sequence[VolumeIntensity],
        unit: str = "mm",
    ) -> list[str]:
        """Describe how a volume differs from the training volumes.

        Args:
            shape: (3,) voxels per axis, in RAS.
            spacing: (3,) spacing in mm.
            quantiles: (C, 5) `PERCENTILES` of each channel.
            channels: names of the channels.
            rules: normalization of each channel.
            unit: unit of the spacing.

        Returns:
            One phrase per difference.
        """
        found: list[str] = []
        percentiles: tuple[int, ...]
        for axis, name in enumerate(_AXES):
            extent = shape[axis] * spacing[axis]
            for quantity, value, limits in (
                ("spacing", spacing[axis], self.spacing[axis]),
                ("field of view", extent, self.extent_mm[axis]),
            ):
                if not limits[0] / FACTOR <= value <= limits[1] * FACTOR:
                    found.append(f"{quantity} {name} {value:.4g} {unit} (training {_show(limits)} {unit})")
        for channel, (name, rule) in enumerate(zip(channels, rules, strict=True)):
            if rule.rule in PER_VOLUME:
                values, limits_of, percentiles = (
                    contrast_of(quantiles[channel]),
                    self.contrast[channel],
                    PERCENTILES[1:-1],
                )
                margin, quantity = MARGIN, "relative intensity"
            else:
                values, limits_of, percentiles = list(quantiles[channel]), self.intensity[channel], PERCENTILES
                margin, quantity = MARGIN * (limits_of[-1][1] - limits_of[0][0]), "intensity"
            found += [
                f"{quantity} of {name}, percentile {percentile}: {value:.4g} (training {_show(limits)})"
                for percentile, value, limits in zip(percentiles, values, limits_of, strict=True)
                if not limits[0] - margin <= value <= limits[1] + margin
            ]
        return found


def quantiles_of(data: np.ndarray) -> list[list[float]]:
    """Return the `PERCENTILES` of each channel of a volume (C, X, Y, Z), from at most about `MAX_VOXELS` voxels."""
    step = max(1, math.ceil(data[0].size / MAX_VOXELS))
    return [np.percentile(channel.reshape(-1)[::step], PERCENTILES).tolist() for channel in data]


def contrast_of(quantiles: Sequence[float]) -> list[float]:
    """Return the inner percentiles on a scale where the first is 0 and the last is 1; 0.5 if both are equal."""
    first, *inner, last = map(float, quantiles)
    return [(value - first) / (last - first) if last > first else 0.5 for value in inner]


def _ranges(values: np.ndarray) -> tuple[Range, ...]:
    """Return the smallest and largest value of each column of (n, columns)."""
    return tuple(zip(values.min(axis=0).tolist(), values.max(axis=0).tolist(), strict=True))


def _tuples(values: Any) -> Any:
    return tuple(map(_tuples, values)) if isinstance(values, list) else values


def _show(limits: Range) -> str:
    return f"{limits[0]:.4g} to {limits[1]:.4g}"

"""Normalization of volumes for training and prediction, with one rule per channel.

The numbers of a rule are its limits, mean and standard deviation. The values of MR volumes differ up to 10,000-fold
between scanners and file formats. The rules `zscore` and `minmax` therefore compute their numbers from each volume. CT
volumes have Hounsfield units. The rules `window` and `foreground` therefore use the same numbers for every volume.
medtune.data.volume_intensity computes the numbers of `foreground`, which follows nnU-Net (Isensee et al., Nature
Methods 18:203, 2021).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from medtune.serving.field_error import FieldError, one_of
from medtune.serving.pixels import DecodeError

Rule = Literal["zscore", "minmax", "window", "foreground"]
# Rules that take all numbers from the volume itself.
PER_VOLUME = ("zscore", "minmax")
# Values outside of these percentiles, of a volume or of the foreground, are clipped.
PERCENTILES = (0.5, 99.5)

_NUMBERS = ("low", "high", "mean", "sd")


@dataclass(frozen=True)
class VolumeIntensity:
    """Normalization of one channel: clip values to [low, high], subtract `mean` and divide by `sd`.

    Attributes:
        rule: `zscore` takes all numbers from the volume: its percentiles 0.5 and 99.5, and the mean and standard
            deviation after clipping. `minmax` maps the same percentiles of the volume to 0 and 1. `window` maps a
            window of values to [-1, 1]. `foreground` takes the numbers from the labeled voxels of the training volumes.
        low: lowest value; None for `PER_VOLUME`.
        high: highest value; None for `PER_VOLUME`.
        mean: value that becomes 0; None for `PER_VOLUME`.
        sd: difference that becomes 1; None for `PER_VOLUME`.
    """

    rule: Rule = "zscore"
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    sd: float | None = None

    @classmethod
    def window(cls, level: float, width: float) -> "VolumeIntensity":
        """Return the rule `window`.

        Args:
            level: center of the window, in Hounsfield units for CT.
            width: width of the window, positive.

        Returns:
            The rule, which maps `level` to 0 and the ends of the window to -1 and 1.
        """
        return cls("window", level - width / 2, level + width / 2, level, width / 2)

    @classmethod
    def from_document(cls, values: Mapping[str, Any]) -> "VolumeIntensity":
        """Parse the result of `document`.

        Args:
            values: the entry of one channel in dataset.json or bundle.json.

        Returns:
            The rule.

        Raises:
            FieldError: a field is missing or out of range.
        """
        if not isinstance(values, Mapping) or not cls.__dataclass_fields__.keys() <= values.keys():
            raise FieldError("intensity", values, f"the keys {', '.join(cls.__dataclass_fields__)}")
        rule, numbers = values["rule"], [values[name] for name in _NUMBERS]
        if rule not in get_args(Rule):
            raise FieldError("intensity.rule", rule, one_of(get_args(Rule)))
        if rule in PER_VOLUME:
            if any(number is not None for number in numbers):
                raise FieldError("intensity.rule", rule, f"null for {', '.join(_NUMBERS)} with this rule")
            return cls(rule)
        for name, number in zip(_NUMBERS, numbers, strict=True):
            if not isinstance(number, int | float) or isinstance(number, bool) or not math.isfinite(number):
                raise FieldError(f"intensity.{name}", number, "a number")
        low, high, mean, sd = map(float, numbers)
        if low >= high or sd <= 0:
            shown = {"low": low, "high": high, "sd": sd}
            raise FieldError("intensity", shown, "a high above low, and an sd above 0")
        return cls(rule, low, high, mean, sd)

    def document(self) -> dict[str, Any]:
        """Return the entry of the channel in dataset.json and bundle.json."""
        return asdict(self)

    def normalize(self, channel: np.ndarray) -> np.ndarray:
        """Normalize one channel.

        Args:
            channel: (X, Y, Z).

        Returns:
            float32 (X, Y, Z).

        Raises:
            DecodeError: a voxel is NaN or infinite, or all voxels are equal after clipping.
        """
        with np.errstate(over="ignore"):
            values = np.asarray(channel, np.float32)
        lowest, highest = float(values.min()), float(values.max())
        if not math.isfinite(lowest) or not math.isfinite(highest):
            raise DecodeError("NaN or infinite voxels")
        if self.low is None or self.high is None or self.mean is None or self.sd is None:
            return _scale_by_own_numbers(values, self.rule)
        if highest <= self.low or lowest >= self.high:
            raise DecodeError(
                f"values {lowest:g} to {highest:g} are outside of the range {self.low:g} to {self.high:g} of rule "
                f"{self.rule}. Check the scale of the file"
            )
        return _scale(np.clip(values, self.low, self.high), self.mean, self.sd)


def normalize(volume: np.ndarray, rules: Sequence[VolumeIntensity]) -> np.ndarray:
    """Normalize a volume.

    Args:
        volume: (C, X, Y, Z).
        rules: one rule per channel.

    Returns:
        float32 (C, X, Y, Z).

    Raises:
        DecodeError: the number of channels differs, a voxel is NaN or infinite, or a channel is constant.
    """
    if len(volume) != len(rules):
        raise DecodeError(f"{len(volume)} channels, but the model was trained on {len(rules)}")
    result = np.empty(volume.shape, np.float32)
    for channel, rule, target in zip(volume, rules, result, strict=True):
        target[...] = rule.normalize(channel)
    return result


def _scale_by_own_numbers(values: np.ndarray, rule: Rule) -> np.ndarray:
    """Normalize a channel with the rule `zscore` or `minmax`."""
    low, high = np.percentile(values, PERCENTILES).tolist()
    if low >= high:
        raise DecodeError(f"constant: 99 % of the voxels are {low:g}")
    clipped = np.clip(values, low, high)
    if rule == "minmax":
        return _scale(clipped, low, high - low)
    mean = float(clipped.mean(dtype=np.float64))
    # Only one plane at a time is converted to float64, which saves memory.
    variance = sum(float(np.square(plane.astype(np.float64) - mean).sum()) for plane in clipped) / clipped.size
    return _scale(clipped, mean, math.sqrt(variance))


def _scale(values: np.ndarray, mean: float, sd: float) -> np.ndarray:
    """Replace float32 values by (values - mean) / sd, computed in float64 because |mean| may exceed sd by far."""
    for plane in values:
        plane[...] = (plane.astype(np.float64) - mean) / sd
    return values

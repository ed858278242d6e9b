"""Settings for dividing slides into tiles, in params, dataset.json and bundle.json."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TileSettings:
    """Settings for dividing slides into tiles.

    Attributes:
        size_um: side of a tile in micrometers.
        pixels: side of the resulting image in pixels.
        overlap: overlap of neighboring tiles as a fraction of the side, 0 to 0.9.
        max_per_slide: maximum number of tiles per slide; None for all tiles.
        min_tissue: minimum tissue fraction of a tile, 0 to 1.
        seed: seed for selecting `max_per_slide` tiles.
    """

    size_um: float
    pixels: int
    overlap: float
    max_per_slide: int | None
    min_tissue: float
    seed: int

    def document(self) -> dict[str, Any]:
        """Return the settings as JSON values for dataset.json and bundle.json."""
        return asdict(self)

    @classmethod
    def from_document(cls, values: Any) -> "TileSettings":
        """Parse the result of `document`.

        Args:
            values: the JSON values.

        Returns:
            The settings.

        Raises:
            ValueError: a field is missing or out of range. The message names the field.
        """
        if not isinstance(values, dict):
            raise ValueError(
                f"tiles is {values!r}: expected a mapping with size_um, pixels and other settings of tiles"
            )
        rules: dict[str, Callable[[Any], bool]] = {
            "size_um": lambda value: _is_number(value) and 0 < value < math.inf,
            "pixels": lambda value: _is_integer(value) and value > 0,
            "overlap": lambda value: _is_number(value) and 0 <= value <= 0.9,
            "max_per_slide": lambda value: value is None or (_is_integer(value) and value > 0),
            "min_tissue": lambda value: _is_number(value) and 0 <= value <= 1,
            "seed": lambda value: _is_integer(value) and value >= 0,
        }
        for name, is_valid in rules.items():
            if name not in values or not is_valid(values[name]):
                raise ValueError(f"tiles.{name} is {values.get(name)!r}, which is out of range")
        return cls(**{name: values[name] for name in rules})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

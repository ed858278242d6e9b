"""Settings for the division of slides into tiles. They are stored in dataset.json and bundle.json."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from medtune.serving.field_error import FieldError


@dataclass(frozen=True)
class TileSettings:
    """Settings for the division of slides into tiles.

    Attributes:
        size_um: side of a tile in micrometers.
        pixels: side of the image of a tile in pixels.
        overlap: overlap of neighboring tiles as a fraction of the side, 0 to 0.9.
        max_per_slide: maximum number of tiles per slide; None for all tiles.
        min_tissue: minimum fraction of tissue in a tile, 0 to 1.
        seed: seed of the random selection of `max_per_slide` tiles.
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
            FieldError: a field is missing or out of range.
        """
        if not isinstance(values, dict):
            raise FieldError("tiles", values, "a mapping with size_um, pixels and other settings of tiles")
        rules: dict[str, tuple[str, Callable[[Any], bool]]] = {
            "size_um": ("a number above 0", lambda value: _is_number(value) and 0 < value < math.inf),
            "pixels": ("an integer above 0", lambda value: _is_integer(value) and value > 0),
            "overlap": ("a number from 0 to 0.9", lambda value: _is_number(value) and 0 <= value <= 0.9),
            "max_per_slide": (
                "an integer above 0, or null",
                lambda value: value is None or (_is_integer(value) and value > 0),
            ),
            "min_tissue": ("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1),
            "seed": ("an integer of at least 0", lambda value: _is_integer(value) and value >= 0),
        }
        for name, (expected, is_valid) in rules.items():
            if name not in values or not is_valid(values[name]):
                raise FieldError(f"tiles.{name}", values.get(name), expected)
        return cls(**{name: values[name] for name in rules})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

"""Task `classification`: one class per image. Reading its params imports no torch."""

from typing import Literal

from medtune.config.schema import TaskParams


class Params(TaskParams):
    """No options."""

    kind: Literal["classification"] = "classification"

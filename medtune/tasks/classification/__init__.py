"""Task `classification`: one class per image. Importing the params does not import torch."""

from typing import Literal

from medtune.config.schema import TaskParams


class Params(TaskParams):
    """No options."""

    kind: Literal["classification"] = "classification"

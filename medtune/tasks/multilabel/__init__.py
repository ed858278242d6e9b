"""Task `multilabel`: zero or more findings per image. Importing the params does not import torch."""

from typing import Literal

from medtune.config.schema import TaskParams


class Params(TaskParams):
    """No options."""

    kind: Literal["multilabel"] = "multilabel"

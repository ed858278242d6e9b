"""Task `multilabel`: any number of findings per image, also none. Reading its params imports no torch."""

from typing import Literal

from medtune.config.schema import TaskParams


class Params(TaskParams):
    """No options."""

    kind: Literal["multilabel"] = "multilabel"

"""Toy task: fraction of dark pixels per patch. The test of the task protocol copies it into medtune/tasks."""

from typing import Literal

from medtune.config.schema import TaskParams


class Params(TaskParams):
    """No options."""

    kind: Literal["toy"] = "toy"

"""A toy task: the share of dark pixels in each patch of an image. Copied into medtune/tasks by the test of the seam."""

from typing import Literal

from medtune.config.schema import TaskParams


class Params(TaskParams):
    """No options."""

    kind: Literal["toy"] = "toy"

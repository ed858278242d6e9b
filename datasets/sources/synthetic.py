"""Source `synthetic` (being written)."""

from typing import Literal

from config.schema import DataParams


class Params(DataParams):
    source: Literal["synthetic"] = "synthetic"
    task: Literal["subtypes4"] = "subtypes4"

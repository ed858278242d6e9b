"""Method `none`: stage 2 trains every weight (full fine-tuning)."""

from typing import Literal

from config.schema import PeftParams


class Params(PeftParams):
    """No options."""

    method: Literal["none"] = "none"

"""Head `linear`: a linear layer on the class token or, without one, on the token mean; the baseline of CDTM's paper."""

from typing import TYPE_CHECKING, Literal

from medtune.config.schema import HeadParams

if TYPE_CHECKING:
    from torch import nn

INPUT = "pooled"
LR_GRID = (1e-3, 1e-2, 1e-1)


class Params(HeadParams):
    """No options."""

    kind: Literal["linear"] = "linear"


def build(params: Params, tokens: int, channels: int, classes: int) -> "nn.Module":
    """Build a head from the pooled feature (B, 1, C) to logits (B, classes)."""
    from medtune.models.classifier import mean_head

    return mean_head(channels, classes, norm=False)

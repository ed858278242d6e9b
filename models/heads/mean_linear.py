"""Head `mean_linear`: a linear layer on the token mean; separates CDTM from its pooling."""

from typing import TYPE_CHECKING, Literal

from medtune.config.schema import HeadParams

if TYPE_CHECKING:
    from torch import nn

INPUT = "mean"
LR_GRID = (1e-3, 1e-2, 1e-1)


class Params(HeadParams):
    """No options."""

    kind: Literal["mean_linear"] = "mean_linear"


def build(params: Params, tokens: int, channels: int, classes: int) -> "nn.Module":
    """Reads the (B, 1, C) token mean, gives (B, classes) logits."""
    from medtune.models.classifier import mean_head

    return mean_head(channels, classes, norm=False)

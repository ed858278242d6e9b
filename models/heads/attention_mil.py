"""Head `attention_mil`: gated attention over the tiles of a slide; Ilse, Tomczak and Welling 2018, equation 9."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import HeadParams

if TYPE_CHECKING:
    from torch import nn

INPUT = "pooled"
LR_GRID = (3e-4, 1e-3, 3e-3)


class Params(HeadParams):
    """Options of attention pooling. A training batch has `frozen.batch_size` slides, each with all its tiles."""

    kind: Literal["attention_mil"] = "attention_mil"
    hidden: Annotated[int, Field(ge=1)] = Field(128, description="L, number of hidden units of the attention")
    norm: bool = Field(True, description="apply LayerNorm to the features of each tile before the attention")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="dropout of the features of each tile")

    @property
    def aggregation(self) -> Literal["mean", "attention"]:
        """Method that combines the outputs of a slide's tiles."""
        return "attention"


def build(params: Params, tokens: int, channels: int, classes: int) -> "nn.Module":
    """Build a head from tile features (B, 1, C) to outputs (B, classes + 1): the evidence per class, then the score."""
    from medtune.models.attention_pooling import GatedAttentionHead

    return GatedAttentionHead(channels, classes, params.hidden, params.norm, params.dropout)

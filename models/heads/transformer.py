"""Head `transformer`: a plain transformer block on the tokens, a baseline with as many parameters as CDTM."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import HeadParams

if TYPE_CHECKING:
    from torch import nn

INPUT = "tokens"
LR_GRID = (3e-4, 1e-3, 3e-3)


class Params(HeadParams):
    """Options of the blocks. With the defaults, the head has about as many parameters as `cdtm` (17.0 M for ViT-B)."""

    kind: Literal["transformer"] = "transformer"
    layers: Annotated[int, Field(ge=1, le=12)] = 1
    mlp_ratio: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="width of the MLP divided by the channels of the tokens. null: as many parameters as cdtm with "
        "K=300",
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    head_dim: Annotated[int, Field(ge=4)] = 32


def build(params: Params, tokens: int, channels: int, classes: int) -> "nn.Module":
    """Build a head from tokens (B, N, C) to logits (B, classes)."""
    from medtune.models.transformer_head import TransformerHead

    return TransformerHead(tokens, channels, classes, **params.model_dump(exclude={"kind"}))

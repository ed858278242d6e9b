"""Head `cdtm`: the Cross-Domain Transfer Module of Li et al. 2024 on the backbone's tokens."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import HeadParams

if TYPE_CHECKING:
    from torch import nn

INPUT = "tokens"
LR_GRID = (3e-4, 1e-3, 3e-3)


class Params(HeadParams):
    """`skip: false, temperature: fixed, init: normal` is the paper's module."""

    kind: Literal["cdtm"] = "cdtm"
    centers: Annotated[int, Field(ge=1)] = Field(300, description="K, learned centres and mixing matrices")
    layers: Annotated[int, Field(ge=1, le=12)] = 1
    mlp_ratio: Annotated[float, Field(gt=0)] = 4.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    skip: bool = Field(True, description="keep the tokens beside their mixture")
    temperature: Literal["learned", "fixed"] = Field("fixed", description="of the softmax; fixed: 1, as in the paper")
    init: Literal["kmeans", "normal"] = Field(
        "kmeans", description="kmeans: centres and scale from the training images; normal: as in the paper"
    )
    summary: bool = Field(False, description="the classifier reads class token and mean patch token too")
    tokens: int | None = Field(None, description="N; null: what backbone and image size give, else checked")


def build(params: Params, tokens: int, channels: int, classes: int, class_tokens: int = 0) -> "nn.Module":
    """The module on (B, N, C) tokens, with `summary` after `class_tokens` class tokens; gives (B, classes) logits."""
    from medtune.models.cdtm import CDTM

    options = params.model_dump(exclude={"kind", "tokens"})
    return CDTM(tokens, channels, classes, **options, class_tokens=class_tokens)


def reads(params: Params) -> str:
    """What the head reads of the backbone, in place of `INPUT`."""
    return "all_tokens" if params.summary else INPUT

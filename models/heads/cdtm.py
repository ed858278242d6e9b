"""Head `cdtm`: the Cross-Domain Transfer Module of Li et al. 2024 on the backbone's tokens."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import HeadParams

if TYPE_CHECKING:
    from torch import nn

INPUT = "tokens"
LR_GRID = (3e-4, 1e-3, 3e-3)


class Params(HeadParams):
    """Options of CDTM; `skip=false`, `temperature=fixed` and `init=normal` give the paper's module."""

    kind: Literal["cdtm"] = "cdtm"
    centers: Annotated[int, Field(ge=1)] = Field(300, description="K, number of learned centers and mixing matrices")
    layers: Annotated[int, Field(ge=1, le=12)] = 1
    mlp_ratio: Annotated[float, Field(gt=0)] = 4.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    skip: bool = Field(True, description="add a skip connection around the mixing of tokens")
    temperature: Literal["learned", "fixed"] = Field(
        "fixed", description="temperature of the softmax over the centers. fixed: 1, as in the paper"
    )
    init: Literal["kmeans", "normal"] = Field(
        "kmeans",
        description="kmeans: initialize the centers and the scale of the features from the training images. normal: "
        "random values, as in the paper",
    )
    summary: bool = Field(False, description="the classifier also reads the class token and the mean patch token")
    tokens: int | None = Field(None, description="N, expected number of patch tokens. null: the number of the backbone")


def build(params: Params, tokens: int, channels: int, classes: int, class_tokens: int = 0) -> "nn.Module":
    """Build the module from tokens (B, N, C) to logits (B, classes).

    Args:
        params: options of the head.
        tokens: N, number of patch tokens.
        channels: C, channels of a token.
        classes: number of classes.
        class_tokens: number of class tokens before the patch tokens, 0 or 1. It is 0 without `params.summary`.

    Returns:
        The head.
    """
    from medtune.models.cdtm import CDTM

    options = params.model_dump(exclude={"kind", "tokens"})
    return CDTM(tokens, channels, classes, **options, class_tokens=class_tokens)


def reads(params: Params) -> str:
    """Return the kind of features that the head reads. It replaces `INPUT`."""
    return "all_tokens" if params.summary else INPUT

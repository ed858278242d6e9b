"""Method `vpt`: learned tokens beside the image's (Jia et al. 2022, arXiv 2203.12119).

`shallow`: p tokens enter before the first block; `deep`: every block gets p tokens of its own, the last block's outputs
for them dropped. They stand between prefix and patch tokens and are taken away before the final norm.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit",)
LR_GRID = (1e-3, 5e-3, 3e-2)


class Params(PeftParams):
    """Number of tokens, and where they enter."""

    method: Literal["vpt"] = "vpt"
    tokens: Annotated[int, Field(ge=1)] = Field(50, description="p")
    depth: Literal["shallow", "deep"] = "shallow"


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the prompt tokens trained, everything else frozen."""
    from medtune.models.blocks.prompts import PromptedBlocks

    backbone.requires_grad_(False)
    backbone.blocks = PromptedBlocks(backbone, params.tokens, deep=params.depth == "deep")
    return backbone

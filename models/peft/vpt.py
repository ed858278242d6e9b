"""Method `vpt`: learned prompt tokens (Jia et al. 2022, arXiv 2203.12119).

With `depth=shallow`, p prompt tokens are added before the first block. With `depth=deep`, every block has p separate
prompt tokens, which replace the prompt tokens in the output of the previous block. The prompt tokens are between the
class and register tokens and the patch tokens. They are removed before the final norm.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit",)
LR_GRID = (1e-3, 5e-3, 3e-2)


class Params(PeftParams):
    """Number of prompt tokens and the blocks that they enter."""

    method: Literal["vpt"] = "vpt"
    tokens: Annotated[int, Field(ge=1)] = Field(50, description="p, number of prompt tokens")
    depth: Literal["shallow", "deep"] = "shallow"


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add the trainable prompt tokens and freeze everything else.

    Args:
        backbone: a ViT, changed in place.
        params: options of the method.

    Returns:
        The same backbone.

    Raises:
        InputError: the blocks of the backbone need the position of every token (for example BEiT and EVA).
    """
    from timm.models.vision_transformer import VisionTransformer

    from medtune.config.errors import InputError
    from medtune.models.blocks.prompts import PromptedBlocks

    if not isinstance(backbone, VisionTransformer):
        raise InputError(
            f"model.peft.method=vpt: it does not support the position embedding of {type(backbone).__name__}. Choose "
            "another method"
        )
    backbone.requires_grad_(False)
    backbone.blocks = PromptedBlocks(backbone, params.tokens, deep=params.depth == "deep")
    return backbone

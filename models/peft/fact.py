"""Method `fact`: all weight updates as one decomposed tensor (Jie & Deng 2023, arXiv 2212.03145).

The weights of a ViT block are divided into twelve slices of C x C weights: q, k, v, the output projection, four of fc1
and four of fc2. The update of slice i is s U S_i V^T with the scale s. All slices share U (C, r) and V (C, r). In the
form `tt` (equation 5), each slice has a matrix S_i (r, r). In the form `tk` (equation 7), each slice has r weights,
and S_i is the weighted sum of the r matrices of a shared core (r, r, r). U starts at zero in both forms. The update
merges into the weights.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit",)
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Form, rank and scale of the decomposition."""

    method: Literal["fact"] = "fact"
    form: Literal["tt", "tk"] = "tt"
    rank: Annotated[int, Field(ge=1)] = 16
    scale: Annotated[float, Field(gt=0)] = 1.0


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add a trainable decomposed update to the matrices of every block and freeze everything else.

    Args:
        backbone: a ViT, changed in place.
        params: options of the method.

    Returns:
        The same backbone.

    Raises:
        InputError: a matrix does not consist of slices of C x C weights (for example in the SwiGLU of EVA-02).
    """
    from medtune.config.errors import InputError
    from medtune.models.blocks.parametrizations import AdditiveUpdate, parametrize_tensor
    from medtune.models.blocks.selection import vit_blocks
    from medtune.models.blocks.shared_factors import SharedFactors, SliceDelta

    backbone.requires_grad_(False)
    shared = SharedFactors(backbone.embed_dim, params.rank, tucker=params.form == "tk")
    for _, block in vit_blocks(backbone):
        for layer in (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2):
            if any(size % backbone.embed_dim for size in layer.weight.shape):
                raise InputError(
                    f"model.peft.method=fact: it does not support the layers of {type(backbone).__name__}, whose "
                    f"widths are not multiples of {backbone.embed_dim}. Choose another method"
                )
            parametrize_tensor(layer, "weight", AdditiveUpdate(SliceDelta(*layer.weight.shape, shared), params.scale))
    return backbone


def merge(backbone: "nn.Module") -> "nn.Module":
    """Merge the updates into the weights of `backbone`."""
    from medtune.models.blocks.parametrizations import bake_in

    return bake_in(backbone)

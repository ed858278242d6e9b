"""Method `fact`: all weight updates as one decomposed tensor (Jie & Deng 2023, arXiv 2212.03145).

`tt` (equation 5): delta W_i = s U S_i V^T. All layers share U (C, r) and V (C, r). Each C x C slice has a matrix S_i
(r, r). `tk` (equation 7): S_i mixes a shared core (r, r, r) with a row (r,) per slice. A ViT block has twelve slices:
q, k, v, the output projection, four of fc1 and four of fc2. U starts at zero in both forms. The update merges into the
weights.
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
    """Add a trainable decomposed update to the matrices of every block and freeze everything else."""
    from medtune.models.blocks.parametrizations import AdditiveUpdate, parametrize_tensor
    from medtune.models.blocks.selection import vit_blocks
    from medtune.models.blocks.shared_factors import SharedFactors, SliceDelta

    backbone.requires_grad_(False)
    shared = SharedFactors(backbone.embed_dim, params.rank, tucker=params.form == "tk")
    for _, block in vit_blocks(backbone):
        for layer in (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2):
            parametrize_tensor(layer, "weight", AdditiveUpdate(SliceDelta(*layer.weight.shape, shared), params.scale))
    return backbone


def merge(backbone: "nn.Module") -> "nn.Module":
    """Merge the updates into the weights of `backbone`."""
    from medtune.models.blocks.parametrizations import bake_in

    return bake_in(backbone)

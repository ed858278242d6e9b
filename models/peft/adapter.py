"""Method `adapter`: a bottleneck after attention and after the MLP (Houlsby et al. 2019, arXiv 1902.00751).

The adapter computes y + up(GELU(down(y))), where y is the output of attention or MLP before the skip connection. As in
the paper, the norm layers are also trained. `up` starts at zero. The authors initialize `up` with a standard deviation
of 0.01.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit",)
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Width of the bottleneck."""

    method: Literal["adapter"] = "adapter"
    hidden: Annotated[int, Field(ge=1)] = 64


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add two trainable bottlenecks per block, train the norm layers and freeze everything else."""
    from torch import nn

    from medtune.models.blocks.adapters import Bottleneck, SequentialAdapter
    from medtune.models.blocks.selection import norm_names, set_trainable, vit_blocks

    norms = norm_names(backbone)
    set_trainable(backbone, lambda name, _: name in norms)
    for _, block in vit_blocks(backbone):
        channels = block.mlp.fc2.out_features
        for name in ("attn", "mlp"):
            setattr(
                block, name, SequentialAdapter(getattr(block, name), Bottleneck(channels, params.hidden, nn.GELU()))
            )
    return backbone

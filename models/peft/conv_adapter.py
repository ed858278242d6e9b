"""Method `conv_adapter`: a bottleneck beside every k x k convolution (Chen et al. 2022, arXiv 2208.07463).

The paper's convolution-parallel form, in the blocks: h = conv(x) + alpha * up(relu(down(x))), down with the kernel and
stride of the convolution itself to 1/gamma of its channels in groups, up 1x1 and zero at first, alpha a trained number
a channel. Does not merge.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("convnext", "resnet", "mobilenet")
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Width of the bottleneck."""

    method: Literal["conv_adapter"] = "conv_adapter"
    reduction: Annotated[int, Field(ge=1)] = Field(4, description="gamma, channels for one of the bottleneck")


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the bottlenecks trained, everything else frozen."""
    from medtune.models.blocks.adapters import ParallelAdapter
    from medtune.models.blocks.cnn_stages import spatial_convs
    from medtune.models.blocks.conv_branches import ConvBottleneck

    backbone.requires_grad_(False)
    for name in spatial_convs(backbone):
        layer = backbone.get_submodule(name)
        backbone.set_submodule(name, ParallelAdapter(layer, ConvBottleneck(layer, params.reduction), scale=1.0))
    return backbone

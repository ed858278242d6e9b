"""Method `conv_adapter`: a bottleneck parallel to every k x k convolution (Chen et al. 2022, arXiv 2208.07463).

Each convolution of a block becomes conv(x) + alpha * up(relu(down(x))), the convolution-parallel form of the paper.
`down` is a grouped convolution with the kernel and stride of `conv`. It returns 1/gamma as many channels as it reads.
`up` is a 1x1 convolution that starts at zero. `alpha` is a trained scale per channel. The method cannot be merged.
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
    reduction: Annotated[int, Field(ge=1)] = Field(
        4, description="gamma, number of input channels per channel of the bottleneck"
    )


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add the trainable bottlenecks and freeze everything else."""
    from medtune.models.blocks.adapters import ParallelAdapter
    from medtune.models.blocks.cnn_stages import spatial_convs
    from medtune.models.blocks.conv_branches import ConvBottleneck

    backbone.requires_grad_(False)
    for name in spatial_convs(backbone):
        layer = backbone.get_submodule(name)
        backbone.set_submodule(name, ParallelAdapter(layer, ConvBottleneck(layer, params.reduction), scale=1.0))
    return backbone

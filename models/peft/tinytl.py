"""Method `tinytl`: biases and a lite residual branch parallel to every block (Cai et al. 2020, arXiv 2007.11622).

The branch downsamples the input of the block by 2, applies a grouped convolution and upsamples the result. Its last
convolution starts at zero, so that training begins at the pretrained network. `hidden` limits the channels of the
branch, because blocks of ResNet and ConvNeXt have more input channels than those of the paper. Shifts of norm layers
count as biases. The method cannot be merged.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("convnext", "resnet", "mobilenet")
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Shape of the branch."""

    method: Literal["tinytl"] = "tinytl"
    kernel: Literal[1, 3, 5, 7] = 3
    hidden: Annotated[int, Field(ge=1)] = Field(
        32, description="channels of the branch, but at most as many as the block has input channels"
    )
    groups: Annotated[int, Field(ge=1)] = Field(
        2, description="groups of the convolution, reduced if they do not divide the channels"
    )


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Train the biases and a new branch per block, and freeze everything else."""
    from medtune.models.blocks.cnn_stages import channel_counts, cnn_blocks
    from medtune.models.blocks.conv_branches import LiteResidual
    from medtune.models.blocks.selection import set_trainable

    set_trainable(backbone, lambda name, _: name.endswith("bias"))
    for name, (inner, out) in channel_counts(backbone, cnn_blocks(backbone)).items():
        hidden = min(inner, params.hidden)
        block = backbone.get_submodule(name)
        backbone.set_submodule(name, LiteResidual(block, inner, hidden, out, params.kernel, params.groups))
    return backbone

"""Method `oft`: block-diagonal rotations of the weight.

Qiu et al. 2023, arXiv 2306.07280. The peft library implements the method.
W = R W0, where R is block-diagonal and orthogonal. R is the Cayley transform of a trained skew-symmetric matrix. In a
CNN, only 1x1 convolutions are adapted, because the library merges larger kernels incorrectly. The number of input
channels of an adapted layer must be a multiple of the block size. A ResNet with basic blocks has few suitable layers.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams
from medtune.models.blocks import library

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit", "resnet", "mobilenet")
ALLOW_UNKNOWN_FAMILIES = True
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Size of the update."""

    method: Literal["oft"] = "oft"
    block: Annotated[int, Field(ge=2)] = Field(8, description="rows per block; must divide the layer's input size")


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add trainable rotations to the target layers and freeze everything else."""
    from peft import OFTConfig

    from medtune.models.blocks.peft_library import inject_adapter
    from medtune.models.blocks.target_layers import default_targets

    def fits(layer: "nn.Module") -> bool:
        return getattr(layer, "kernel_size", (1, 1)) == (1, 1) and not layer.weight.shape[1] % params.block

    names = [name for name in default_targets(backbone) if fits(backbone.get_submodule(name))]
    return inject_adapter(backbone, OFTConfig(oft_block_size=params.block, r=0), names)


merge = library.merge

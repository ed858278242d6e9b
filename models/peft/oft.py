"""Method `oft`: rotations of the weight in blocks.

Qiu et al. 2023, arXiv 2306.07280; by the peft library.
W = R W0, R block-diagonal and orthogonal by the Cayley transform of a trained skew matrix. On a CNN the 1x1
convolutions whose inputs the block divides, few in a ResNet of basic blocks: for larger kernels what the library
merges is not what it trained.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams
from medtune.models.blocks import library

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit", "resnet", "mobilenet")
OTHER_FAMILIES = True
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Size of the change."""

    method: Literal["oft"] = "oft"
    block: Annotated[int, Field(ge=2)] = Field(8, description="rows of a block; divides the layer's inputs")


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the change of its target layers trained, everything else frozen."""
    from peft import OFTConfig

    from medtune.models.blocks.peft_library import inject_adapter
    from medtune.models.blocks.target_layers import default_targets

    def fits(layer: "nn.Module") -> bool:
        return getattr(layer, "kernel_size", (1, 1)) == (1, 1) and not layer.weight.shape[1] % params.block

    names = [name for name in default_targets(backbone) if fits(backbone.get_submodule(name))]
    return inject_adapter(backbone, OFTConfig(oft_block_size=params.block, r=0), names)


merge = library.merge

"""Method `tsa`: conv(x) + A * x, a 1x1 residual adapter of each k x k convolution (Li et al. 2022, arXiv 2107.00358).

A is a full matrix or, with `form=channelwise`, one number per channel. A 1x1 convolution parallel to a k x k
convolution of the same stride is equivalent to a change of the kernel's center. The adapter is therefore implemented as
a parametrization of the kernel, and can be merged into it. There are three differences from the paper. A starts at
zero. In the paper, it starts at 0.0001 I. If its shape allows it, the first convolution is also adapted. The paper
leaves it out. The head is trained. The paper trains a linear map of the features, and its classifier has no weights.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("resnet", "mobilenet")
VOLUMES = True
LR_GRID = (1e-4, 5e-4, 3e-3)


class Params(PeftParams):
    """Shape of the adapter."""

    method: Literal["tsa"] = "tsa"
    form: Literal["matrix", "channelwise"] = Field(
        "matrix", description="channelwise adapts only convolutions with as many input as output channels"
    )


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add a trainable residual adapter to every convolution larger than 1x1 and freeze everything else."""
    from torch import nn

    from medtune.models.blocks import parametrizations
    from medtune.models.blocks.center_tap import CenterTapAdapter

    backbone.requires_grad_(False)
    convolutions = [
        m
        for m in backbone.modules()
        if isinstance(m, nn.Conv2d | nn.Conv3d) and max(m.kernel_size) > 1 and all(k % 2 for k in m.kernel_size)
    ]
    for layer in convolutions:
        square = layer.weight.shape[1] == layer.weight.shape[0] or layer.groups == layer.weight.shape[0]
        if params.form == "matrix" or square:
            parametrizations.parametrize_tensor(
                layer, "weight", CenterTapAdapter(layer.weight, channelwise=params.form == "channelwise")
            )
    return backbone


def merge(backbone: "nn.Module") -> "nn.Module":
    """Merge the adapters into the kernels of `backbone`."""
    from medtune.models.blocks.parametrizations import bake_in

    return bake_in(backbone)

"""Method `tsa`: conv(x) + A * x, a 1x1 residual adapter of each k x k convolution (Li et al. 2022, arXiv 2107.00358).

A is a full matrix or, `form: channelwise`, one number per channel. A 1x1 convolution beside a k x k one of the same
stride changes the kernel's center, so it is written there and merges to nothing. The authors start A at 0.0001 I, not
at zero, and leave out the first convolution. They also train a linear map of the features, because their classifier has
no weights. Here the head is trained.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("resnet", "mobilenet")
LR_GRID = (1e-4, 5e-4, 3e-3)


class Params(PeftParams):
    """Shape of the adapter."""

    method: Literal["tsa"] = "tsa"
    form: Literal["matrix", "channelwise"] = Field("matrix", description="channelwise: where in and out channels agree")


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with a residual adapter trained beside every convolution larger than 1x1, everything else frozen."""
    from torch import nn

    from medtune.models.blocks import parametrizations
    from medtune.models.blocks.center_tap import CenterTapAdapter

    backbone.requires_grad_(False)
    found = [
        m for m in backbone.modules() if isinstance(m, nn.Conv2d) and m.kernel_size[0] > 1 and m.kernel_size[0] % 2
    ]
    for layer in found:
        square = layer.weight.shape[1] == layer.weight.shape[0] or layer.groups == layer.weight.shape[0]
        if params.form == "matrix" or square:
            parametrizations.parametrize_tensor(
                layer, "weight", CenterTapAdapter(layer.weight, channelwise=params.form == "channelwise")
            )
    return backbone


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the adapters in its kernels."""
    from medtune.models.blocks.parametrizations import bake_in

    return bake_in(backbone)

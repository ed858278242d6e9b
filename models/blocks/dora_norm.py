"""Lower bound for the weight norms of output channels, by which DoRA divides."""

from peft.tuners.lora.dora import DoraConv2dLayer, DoraConv3dLayer, DoraLinearLayer
from torch import Tensor, nn

# Far below the norm of any channel with nonzero weights. A channel of zeros has norm 0.
MIN_NORM = 1e-6


class _BoundedLinear(DoraLinearLayer):
    def get_weight_norm(self, *args: object, **options: object) -> Tensor:
        return super().get_weight_norm(*args, **options).clamp_min(MIN_NORM)


class _BoundedConv2d(DoraConv2dLayer):
    def get_weight_norm(self, *args: object, **options: object) -> Tensor:
        return super().get_weight_norm(*args, **options).clamp_min(MIN_NORM)


class _BoundedConv3d(DoraConv3dLayer):
    def get_weight_norm(self, *args: object, **options: object) -> Tensor:
        return super().get_weight_norm(*args, **options).clamp_min(MIN_NORM)


BOUNDED = {DoraLinearLayer: _BoundedLinear, DoraConv2dLayer: _BoundedConv2d, DoraConv3dLayer: _BoundedConv3d}


def clamp_norms(backbone: nn.Module) -> nn.Module:
    """Bound the norm of every DoRA layer from below, in training and in merging.

    For a channel whose weights are all zero, the library would divide 0 by 0. With the bound, its output stays 0.

    Args:
        backbone: a network in which the peft library injected DoRA layers; changed in place.

    Returns:
        The same backbone.
    """
    for module in backbone.modules():
        if type(module) in BOUNDED:
            module.__class__ = BOUNDED[type(module)]
    return backbone

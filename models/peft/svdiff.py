"""Method `svdiff`: W = U diag(relu(s + delta)) V^T with trained delta (Han et al. 2023, arXiv 2303.11305).

This is equation 2 of the paper. U diag(s) V^T is the singular value decomposition of the pretrained weight. For the
decomposition, the kernel of a convolution has the shape (out, in * k * k), and that of a transposed convolution the
shape (in, out * k * k).
"""

from typing import TYPE_CHECKING, Literal

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
ALLOW_UNKNOWN_FAMILIES = True
VOLUMES = True
LR_GRID = (1e-3, 5e-3, 3e-2)


class Params(PeftParams):
    """No options."""

    method: Literal["svdiff"] = "svdiff"


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add a trainable spectral shift to every linear and convolution weight and freeze everything else."""
    from medtune.models.blocks import parametrizations
    from medtune.models.blocks.spectral import SpectralShift

    backbone.requires_grad_(False)
    for _, layer in list(parametrizations.affine_layers(backbone)):
        if isinstance(layer, parametrizations.MATRICES):
            parametrizations.parametrize_tensor(layer, "weight", SpectralShift(layer.weight))
    return backbone


def merge(backbone: "nn.Module") -> "nn.Module":
    """Merge the shifted spectra into the weights of `backbone`."""
    from medtune.models.blocks.parametrizations import bake_in

    return bake_in(backbone)

"""Method `fishmask`: training of the weights with the most Fisher information (Sung et al. 2021, arXiv 2111.09839).

Before training, the Fisher information of every weight is computed on training images (equation 4). It is the squared
gradient of the log-probability of an image's label, averaged over the images. The method trains a fraction of all
weights and biases of linear layers, convolutions and norms: those with the highest Fisher information. The trained
parameters are differences from the frozen tensors, so that weight decay does not shrink the pretrained values. The
differences merge into the weights.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from medtune.config.base import renamed
from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medtune.models.classifier import Classifier

SUPPORTED_FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
ALLOW_UNKNOWN_FAMILIES = True
VOLUMES = True
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Fraction of the weights, and number of images for the Fisher information."""

    REMOVED: ClassVar[dict[str, str]] = renamed("model.peft", share="fraction")

    method: Literal["fishmask"] = "fishmask"
    fraction: Annotated[float, Field(gt=0, lt=1)] = Field(0.005, description="fraction of the weights that is trained")
    images: Annotated[int, Field(ge=1)] = Field(256, description="number of training images for the Fisher information")


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Train a fraction of the weights, which `prepare` selects, and freeze everything else."""
    from torch import nn

    from medtune.models.blocks.parametrizations import affine_layers, parametrize_tensor
    from medtune.models.blocks.sparse_delta import SparseDelta, SparseEntry

    backbone.requires_grad_(False)
    layers = [
        (layer, tensor)
        for _, layer in affine_layers(backbone)
        for tensor in ("weight", "bias")
        if isinstance(getattr(layer, tensor, None), nn.Parameter)
    ]
    sizes = [getattr(layer, tensor).numel() for layer, tensor in layers]
    backbone.sparse_delta = SparseDelta(sizes, max(1, round(params.fraction * sum(sizes))))
    for index, (layer, tensor) in enumerate(layers):
        parametrize_tensor(layer, tensor, SparseEntry(backbone.sparse_delta, index))
    return backbone


def prepare(model: "Classifier", batches: "Iterable[tuple[Tensor, Tensor]]", params: Params) -> None:
    """Select the weights by their Fisher information on the first `params.images` images of `batches`."""
    from itertools import islice

    from medtune.models.blocks.fisher import diagonal_fisher

    examples = ((image[None], label[None]) for batch in batches for image, label in zip(*batch, strict=True))
    model.backbone.sparse_delta.select_entries(
        diagonal_fisher(model, _frozen_tensors(model.backbone), islice(examples, params.images))
    )


def merge(backbone: "nn.Module") -> "nn.Module":
    """Merge the differences into the weights of `backbone`."""
    from medtune.models.blocks.parametrizations import bake_in

    bake_in(backbone)
    del backbone.sparse_delta
    return backbone


def _frozen_tensors(backbone: "nn.Module") -> "list[Tensor]":
    """Return the frozen tensors to which differences are added, in the order of `inject`."""
    from torch.nn.utils.parametrize import is_parametrized

    from medtune.models.blocks.sparse_delta import SparseEntry

    entries = {
        entry.index: parametrization.original
        for module in backbone.modules()
        if is_parametrized(module)
        for parametrization in module.parametrizations.values()
        for entry in parametrization
        if isinstance(entry, SparseEntry)
    }
    return [entries[index] for index in range(len(entries))]

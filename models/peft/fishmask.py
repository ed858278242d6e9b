"""Method `fishmask`: the weights with the most Fisher information are trained (Sung et al. 2021, arXiv 2111.09839).

Before training, equation 4 on training images: the mean over images of the squared gradient of the log-probability of
the image's label. The top share among the weights and biases of all linear layers, convolutions and norms is trained,
as changes of the frozen tensors, so that weight decay touches nothing. Merges to nothing.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medtune.models.classifier import Classifier

SUPPORTED_FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
OTHER_FAMILIES = True
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """How many weights, judged on how many images."""

    method: Literal["fishmask"] = "fishmask"
    share: Annotated[float, Field(gt=0, lt=1)] = Field(0.005, description="of the weights that is trained")
    images: Annotated[int, Field(ge=1)] = Field(256, description="training images that the information is computed on")


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with a share of its weights trained, everything else frozen; `prepare` says which."""
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
    backbone.chosen = SparseDelta(sizes, max(1, round(params.share * sum(sizes))))
    for index, (layer, tensor) in enumerate(layers):
        parametrize_tensor(layer, tensor, SparseEntry(backbone.chosen, index))
    return backbone


def prepare(model: "Classifier", batches: "Iterable[tuple[Tensor, Tensor]]", params: Params) -> None:
    """Chooses the weights by their Fisher information on the first `params.images` images of `batches`."""
    from itertools import islice

    from medtune.models.blocks.fisher import diagonal_fisher

    singles = ((image[None], label[None]) for batch in batches for image, label in zip(*batch, strict=True))
    model.backbone.chosen.select_entries(
        diagonal_fisher(model, _frozen_tensors(model.backbone), islice(singles, params.images))
    )


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the changes in its weights."""
    from medtune.models.blocks.parametrizations import bake_in

    bake_in(backbone)
    del backbone.chosen
    return backbone


def _frozen_tensors(backbone: "nn.Module") -> "list[Tensor]":
    """The tensors that are changed, in the order in which `inject` numbered them."""
    from torch.nn.utils.parametrize import is_parametrized

    from medtune.models.blocks.sparse_delta import SparseEntry

    entries = {
        change.index: own.original
        for module in backbone.modules()
        if is_parametrized(module)
        for own in module.parametrizations.values()
        for change in own
        if isinstance(change, SparseEntry)
    }
    return [entries[index] for index in range(len(entries))]

"""Method `adalora`: low-rank updates P diag(values) Q whose rank goes where it matters (arXiv 2303.10512).

Zhang et al. 2023; own implementation, since the peft library's allocator keeps its state outside the network. Every
layer begins with `start` triplets. After each step their importance is brought up to date (equations 4 to 6), every
`interval` steps those beyond the budget are set to zero; it shrinks on a cubic (equation 9) to `rank` a layer on
average, after which what is kept stays. P and Q are held near orthonormal by a penalty. Merges to nothing.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from medtune.config.schema import PeftParams

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medtune.models.blocks.rank_allocation import SVDTriplets

SUPPORTED_FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
OTHER_FAMILIES = True
LR_GRID = (2e-3, 1e-2, 5e-2)


class Params(PeftParams):
    """Ranks, the schedule between them, the update's scale and the penalty's weight."""

    method: Literal["adalora"] = "adalora"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r, mean over the layers at the end")
    start: Annotated[int, Field(ge=1)] = Field(12, description="rank of every layer at first")
    alpha: Annotated[float, Field(gt=0)] = Field(8.0, description="the update is scaled by alpha / r")
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(0.1, description="share of the steps before ranks shrink")
    final: Annotated[float, Field(ge=0, lt=1)] = Field(0.4, description="share of the steps after they are settled")
    interval: Annotated[int, Field(ge=1)] = Field(10, description="steps between two allocations")
    orthogonality: Annotated[float, Field(ge=0)] = Field(0.1, description="weight of the penalty")

    @model_validator(mode="after")
    def _shrinks(self) -> "Params":
        if self.start < self.rank:
            raise ValueError(f"start is {self.start}, below rank {self.rank}: ranks only shrink")
        if self.warmup + self.final >= 1:
            raise ValueError(f"warmup {self.warmup} and final {self.final} leave no steps to shrink the ranks in")
        return self


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """`backbone` with the triplets of its target layers trained, everything else frozen."""
    from medtune.models.blocks.parametrizations import AdditiveUpdate, parametrize_tensor
    from medtune.models.blocks.peft_library import resolve_targets
    from medtune.models.blocks.rank_allocation import SVDTriplets

    backbone.requires_grad_(False)
    for name in resolve_targets(backbone):
        layer = backbone.get_submodule(name)
        triplets = SVDTriplets(*layer.weight.flatten(1).shape, params.start)
        parametrize_tensor(layer, "weight", AdditiveUpdate(triplets, params.alpha / params.rank))
    return backbone


def after_step(backbone: "nn.Module", params: Params, step: int, steps: int) -> None:
    """Importance from the step's gradients, and ranks where they are due."""
    from medtune.models.blocks.rank_allocation import allocate_ranks, cubic_budget

    layers = _triplets(backbone)
    begin, end = round(params.warmup * steps), round((1 - params.final) * steps)
    if step <= end:
        for layer in layers:
            layer.update_sensitivity()
    if step == end or (begin < step < end and step % params.interval == 0):
        share = (step - begin) / (end - begin) if step < end else 1.0
        first = sum(len(layer.kept) for layer in layers)
        allocate_ranks(layers, cubic_budget(first, min(first, params.rank * len(layers)), share))
    elif step < end:
        return
    for layer in layers:
        layer.prune()


def penalty(backbone: "nn.Module", params: Params) -> "Tensor":
    """() added to the loss: the layers' mean distance of P and Q from orthonormal, weighted."""
    import torch

    return params.orthogonality * torch.stack([layer.orthogonality_loss() for layer in _triplets(backbone)]).mean()


def merge(backbone: "nn.Module") -> "nn.Module":
    """`backbone` with the updates in its weights."""
    from medtune.models.blocks.parametrizations import bake_in

    return bake_in(backbone)


def _triplets(backbone: "nn.Module") -> "list[SVDTriplets]":
    from medtune.models.blocks.rank_allocation import SVDTriplets

    return [module for module in backbone.modules() if isinstance(module, SVDTriplets)]

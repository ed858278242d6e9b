"""Method `adalora`: low-rank updates P diag(values) Q with ranks allocated by importance (arXiv 2303.10512).

Zhang et al. 2023. A triplet is a value, its column of P and its row of Q. Every layer begins with `start` triplets.
After each step, the importance of every triplet is updated (equations 4 to 6). Every `interval` steps, the most
important triplets of all layers are selected, and the values of the other triplets are set to zero. The number of
selected triplets shrinks along a cubic curve (equation 9) until the layers have `rank` triplets on average. The
selection is then fixed. A penalty keeps P and Q close to orthonormal. The update merges into the weights.

The peft library is not used, because its allocator stores the state of training outside of the network.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from medtune.config.schema import PeftParams
from medtune.config.validation_errors import param_error

if TYPE_CHECKING:
    from torch import Tensor, nn

    from medtune.models.blocks.rank_allocation import SVDTriplets

SUPPORTED_FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
ALLOW_UNKNOWN_FAMILIES = True
LR_GRID = (2e-3, 1e-2, 5e-2)


class Params(PeftParams):
    """Initial and final rank, schedule of the rank, scale of the update and weight of the penalty."""

    method: Literal["adalora"] = "adalora"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r, mean final rank of the layers")
    start: Annotated[int, Field(ge=1)] = Field(12, description="initial rank of every layer")
    alpha: Annotated[float, Field(gt=0)] = Field(8.0, description="the update is scaled by alpha / r")
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="fraction of the steps before the ranks begin to shrink"
    )
    final: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.4, description="fraction of the steps with fixed ranks, at the end"
    )
    interval: Annotated[int, Field(ge=1)] = Field(10, description="number of steps between two selections of triplets")
    orthogonality: Annotated[float, Field(ge=0)] = Field(
        0.1, description="weight of the penalty for P and Q that are not orthonormal"
    )

    @model_validator(mode="after")
    def _shrinks(self) -> "Params":
        if self.start < self.rank:
            raise param_error(
                "start", self.start, f"below rank={self.rank}, but ranks only shrink. Use start>={self.rank}"
            )
        if self.warmup + self.final >= 1:
            raise param_error(
                "warmup",
                self.warmup,
                f"with final={self.final} no steps are left to shrink the ranks. Use values whose sum is below 1",
            )
        return self


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add trainable triplets to the target layers and freeze everything else."""
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
    """Update the importance of the triplets from the gradients. Every `interval` steps, also select triplets again."""
    from medtune.models.blocks.rank_allocation import allocate_ranks, cubic_budget

    layers = _triplets(backbone)
    begin, end = round(params.warmup * steps), round((1 - params.final) * steps)
    if step <= end:
        for layer in layers:
            layer.update_sensitivity()
    if step == end or (begin < step < end and step % params.interval == 0):
        fraction = (step - begin) / (end - begin) if step < end else 1.0
        first = sum(len(layer.selected) for layer in layers)
        allocate_ranks(layers, cubic_budget(first, min(first, params.rank * len(layers)), fraction))
    elif step < end:
        return
    for layer in layers:
        layer.prune()


def penalty(backbone: "nn.Module", params: Params) -> "Tensor":
    """Return the scalar penalty: the mean orthogonality loss of the layers, multiplied by `orthogonality`."""
    import torch

    return params.orthogonality * torch.stack([layer.orthogonality_loss() for layer in _triplets(backbone)]).mean()


def merge(backbone: "nn.Module") -> "nn.Module":
    """Merge the updates into the weights of `backbone`."""
    from medtune.models.blocks.parametrizations import bake_in

    return bake_in(backbone)


def _triplets(backbone: "nn.Module") -> "list[SVDTriplets]":
    """Return the triplets of each adapted layer."""
    from medtune.models.blocks.rank_allocation import SVDTriplets

    return [module for module in backbone.modules() if isinstance(module, SVDTriplets)]

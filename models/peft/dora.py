"""Method `dora`: low-rank updates of the direction and a trained magnitude per output channel.

Liu et al. 2024, arXiv 2402.09353. The peft library implements the method.
W = m (W0 + (alpha / r) B A) / ||W0 + (alpha / r) B A||, with one norm per output channel. The magnitude m (out,), A and
B are trained. For a channel whose weights are all zero, the library would divide 0 by 0. Therefore MedTune divides by
at least 1e-6, and such a channel remains zero. If an instance norm follows a convolution, the magnitude has no effect
and stays frozen.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import PeftParams
from medtune.models.blocks import library

if TYPE_CHECKING:
    from torch import nn

SUPPORTED_FAMILIES = ("vit", "convnext", "resnet", "mobilenet")
ALLOW_UNKNOWN_FAMILIES = True
VOLUMES = True
LR_GRID = (3e-4, 2e-3, 1e-2)


class Params(PeftParams):
    """Size of the update."""

    method: Literal["dora"] = "dora"
    rank: Annotated[int, Field(ge=1)] = Field(8, description="r")
    alpha: Annotated[float, Field(gt=0)] = Field(8.0, description="the update is scaled by alpha / r")


def inject(backbone: "nn.Module", params: Params) -> "nn.Module":
    """Add trainable updates to the target layers and freeze everything else."""
    from peft import LoraConfig

    from medtune.models.blocks.dora_norm import clamp_norms
    from medtune.models.blocks.peft_library import inject_adapter
    from medtune.models.blocks.volume_layers import normalized_layers

    normalized = normalized_layers(backbone)
    clamp_norms(inject_adapter(backbone, LoraConfig(r=params.rank, lora_alpha=params.alpha, use_dora=True)))
    for name in normalized:
        if vectors := getattr(backbone.get_submodule(name), "lora_magnitude_vector", None):
            vectors.requires_grad_(False)
    return backbone


merge = library.merge

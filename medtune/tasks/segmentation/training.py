"""Parts of a training of segmentation: network, inputs and objective."""

from typing import Any

from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.models import segmenter
from medtune.models.network import Network
from medtune.tasks.segmentation.objective import objective
from medtune.tasks.segmentation.stage_inputs import finetune_inputs, frozen_inputs

__all__ = ["build", "finetune_inputs", "frozen_inputs", "layout", "objective"]


def layout(prepared: PreparedDataset) -> dict[str, Any]:
    """Return the number of classes including the background, the number of channels, and the patch in voxels."""
    volumes = prepared.info["volumes"]
    return {
        "classes": len(prepared.classes) + 1,
        "channels": len(volumes["channels"]),
        "patch": [int(side) for side in volumes["patch"]],
    }


def build(params: Params, layout: dict[str, Any], load_weights: bool = True) -> Network:
    """Build the network from the result of `layout`. With `load_weights=False`, the backbone has random weights."""
    return segmenter.build(params, layout["channels"], layout["classes"], layout["patch"], load_weights)

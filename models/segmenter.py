"""Construction of segmentation networks: a network that reads volumes, or a 3-D decoder with or without a timm model.

The timm model reads slices of the volume.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch

from medtune.config import registry
from medtune.config.schema import Params
from medtune.config.volume_model import NO_BACKBONE
from medtune.models.backbones import create_backbone, family
from medtune.models.normalization import normalization
from medtune.models.slice_network import SliceNetwork
from medtune.models.volume_networks import ARCHITECTURES, VolumeNetwork, check_patch, create_volume_network


def build(
    params: Params, channels: int, classes: int, patch: Sequence[int], load_weights: bool = True
) -> SliceNetwork | VolumeNetwork:
    """Build backbone and decoder. Parts without pretrained weights are initialized from `params.seed`.

    Args:
        params: all params. `model.backbone` is `none`, a network that reads volumes, or the name of a timm model.
        channels: number of channels of a volume, C.
        classes: number of classes including the background, K.
        patch: X, Y and Z of a training patch in voxels.
        load_weights: False leaves the backbone randomly initialized, for callers that load a state dict.

    Returns:
        The network in eval mode.

    Raises:
        InputError: the backbone is unknown, the weights do not fit, or the patch has an unsupported size.
        RunError: the weights could not be downloaded.
    """
    model = params.model
    torch.manual_seed(params.seed)
    if model.backbone in ARCHITECTURES:
        weights = model.weights if load_weights else "none"
        network = create_volume_network(model.backbone, channels, classes, weights, model.backbone_args)
        check_patch(network, model.backbone, patch)
        x, y, z = patch
        network.patch = (x, y, z)
        return network
    backbone, values = None, None
    if model.backbone != NO_BACKBONE:
        backbone = create_backbone(_with_image_size(params, patch), load_weights)
        values = normalization(params, backbone)
    torch.manual_seed(params.seed)
    slices: SliceNetwork = _head(params).build(model.head, backbone, channels, classes, patch, values)
    return slices.eval()


def _head(params: Params) -> ModuleType:
    """Return the module in models/heads that `model.head.kind` names."""
    return registry.load_plugin("medtune.models.heads", params.model.head.kind, "model.head.kind")


def _with_image_size(params: Params, patch: Sequence[int]) -> Params:
    """Return params that set the argument `img_size` of a ViT to the size of the slices, unless the params set it."""
    model = params.model
    if "img_size" in model.backbone_args or family(model.backbone) != "vit":
        return params
    with torch.device("meta"):
        vit: Any = create_backbone(params, load_weights=False)
    side = _head(params).image_side(model.head, patch, vit.patch_embed.patch_size[0])
    return params.model_copy(
        update={"model": model.model_copy(update={"backbone_args": {**model.backbone_args, "img_size": side}})}
    )

"""Checks before training of the networks of task segmentation."""

from collections.abc import Sequence

import timm
import torch

from medtune.config.errors import InputError, suggestion
from medtune.config.schema import Params
from medtune.config.volume_model import NO_BACKBONE, VOLUME_NETWORKS
from medtune.models import segmenter
from medtune.models.backbones import check_checkpointing, check_family, check_name
from medtune.models.slice_network import SliceNetwork
from medtune.models.volume_networks import VolumeNetwork, check_method, create_volume_network
from medtune.models.weights import read_weights

# Number of classes of a trial network.
CLASSES = 3
# Side in voxels of a trial patch for a timm model. Slices need at least `MIN_SIDE` voxels (slice_network.py).
SIDE = 16


def trial_patch(params: Params) -> tuple[int, int, int]:
    """Return a small patch that the network supports, in voxels, for a trial before training.

    Args:
        params: all params with a known `model.backbone`.

    Returns:
        X, Y and Z.

    Raises:
        InputError: MONAI is missing, or it rejects `model.backbone_args`.
    """
    model = params.model
    if model.backbone in VOLUME_NETWORKS:
        with torch.random.fork_rng():
            x, y, z = create_volume_network(model.backbone, 1, CLASSES, args=model.backbone_args).factors
        return 2 * x, 2 * y, 2 * z
    return SIDE, SIDE, 1 if getattr(params.data, "is_planar", False) else SIDE


def check_segmenter(
    params: Params,
    channels: int | None = None,
    patch: Sequence[int] | None = None,
    classes: int = CLASSES,
    load_weights: bool = True,
) -> SliceNetwork | VolumeNetwork:
    """Check that backbone, weights file, PEFT method and patch fit together.

    The check does not compare the weights of a timm model. `medtune.models.weights_check` does.

    Args:
        params: all params.
        channels: number of channels of the volumes. None: unknown; the check then uses 1 and compares no weights.
        patch: X, Y and Z of a training patch in voxels. None: unknown; the check then uses `trial_patch`.
        classes: number of classes including the background.
        load_weights: True compares the weights of a network that reads volumes. A timm model is always created without
            weights.

    Returns:
        The network on the meta device.

    Raises:
        InputError: the backbone or the weights are unknown, the network does not support the patch, the PEFT method or
            gradient checkpointing, MONAI is not installed, or the weights do not fit.
    """
    model = params.model
    name = model.backbone
    if name in VOLUME_NETWORKS:
        check_method(name, model.peft.method)
    elif name != NO_BACKBONE:
        _check_timm(params)
    if model.weights not in ("hub", "bundled", "none"):
        read_weights(model.weights, name, check_only=True)
    with torch.device("meta"), torch.random.fork_rng():  # `build` sets the seed
        load = load_weights and channels is not None and name in VOLUME_NETWORKS
        network = segmenter.build(params, channels or 1, classes, patch or trial_patch(params), load_weights=load)
    reads_slices = name not in (NO_BACKBONE, *VOLUME_NETWORKS)
    if reads_slices and "finetune" in params.training_stages and params.finetune.gradient_checkpointing:
        check_checkpointing(params, network.backbone)
    return network


def _check_timm(params: Params) -> None:
    """Check that timm has the backbone and that the PEFT method supports it."""
    name = params.model.backbone
    arch = name.partition(".")[0]
    if not timm.is_model(arch):
        known = [NO_BACKBONE, *VOLUME_NETWORKS]
        similar = suggestion(arch, [*known, *timm.list_models()])
        raise InputError(
            f"model.backbone={name}: neither a timm model nor a network of volumes{similar}. Use {', '.join(known)} or "
            "a timm model"
        )
    check_name(name, params.model.weights)
    check_family(params)

"""Inputs of both training stages: patches of volumes, or windows of volumes with stored features of the backbone."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset
from medtune.data.wording import wording
from medtune.runtime import console, distributed
from medtune.serving.volumes.windows import Patch
from medtune.tasks.segmentation import Params as TaskParams
from medtune.tasks.segmentation.patch_source import PatchSource
from medtune.tasks.segmentation.window_features import Windows, level_shapes, required_windows, store_levels
from medtune.tasks.segmentation.window_source import StoredDecoder, StoredWindowSource
from medtune.tasks.segmentation.windowed import WindowedNetwork
from medtune.training.feature_cache import store_bytes
from medtune.training.stage_inputs import StageInputs


def frozen_inputs(
    model: Any, prepared: PreparedDataset, params: Params, cache: Path, fold: int, device: torch.device
) -> StageInputs:
    """Create the inputs of stage 1 (see `StageInputs`).

    Returns:
        Windows with stored features, or patches and the complete network. The complete network is used if one of these
        conditions is true: there is no backbone, the backbone does not read slices, `frozen.feature_views` is online,
        or the features need more disk space than `frozen.feature_cache_gb`.
    """
    task, views, budget = params.task, params.frozen.feature_views, params.frozen.feature_cache_gb
    assert isinstance(task, TaskParams)
    online = finetune_inputs(model, prepared, params, device)
    if views == "online" or not any(True for _ in model.backbone.parameters()):
        return online  # without a backbone, the decoder is the complete network
    if not hasattr(model, "levels"):
        console.info(
            f"frozen: the features of {params.model.backbone} are as large as its volumes and are not stored; the "
            "encoder runs in every epoch"
        )
        return online
    patch = _patch(model)
    windows, shapes = Windows(prepared, patch, task, device), level_shapes(model, prepared.volumes.channels, device)
    required = required_windows(windows, prepared.indices(fold), views)
    width = sum(torch.Size(shape).numel() for shape in shapes)
    size_gb = store_bytes([*required[0], required[1]], 1, width) / 1e9
    if size_gb > budget:
        item = wording(prepared.info).item
        console.info(
            f"frozen: features of {views} windows per {item} need {size_gb:.1f} GB, but frozen.feature_cache_gb "
            f"is {budget:g}; the backbone runs in every epoch"
        )
        return online
    with distributed.main_process_first():
        stored, grid = store_levels(model, windows, prepared, params, required, cache)
    return StageInputs(
        StoredWindowSource(windows, stored, grid),
        partial(StoredDecoder, shapes=shapes, patch=patch, overlap=task.overlap),
        stored=True,
        score_batch_size=1,
    )


def finetune_inputs(model: Any, prepared: PreparedDataset, params: Params, device: torch.device) -> StageInputs:
    """Create the inputs of stage 2: augmented patches and the complete network (see `StageInputs`)."""
    task, patch = params.task, _patch(model)
    assert isinstance(task, TaskParams)
    source = PatchSource(prepared, patch, task, device)

    def wrap(network: nn.Module) -> nn.Module:
        return WindowedNetwork(network, patch, task.overlap)

    return StageInputs(source, wrap, score_batch_size=1, labeled=source.labeled)


def _patch(model: Any) -> Patch:
    """Return the patch of a network from `build`."""
    x, y, z = model.patch
    return x, y, z

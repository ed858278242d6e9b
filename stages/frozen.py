"""Stage 1: the backbone frozen and in eval mode, the head trained on its features."""

import math
from typing import TYPE_CHECKING, Any

from medtune.config.errors import InputError
from medtune.config.head_aggregation import ATTENTION
from medtune.config.schema import Params
from medtune.runtime import console, distributed
from medtune.runtime.artifact import Artifact
from medtune.runtime.device import device_name
from medtune.runtime.paths import RunPaths
from medtune.stages.steps import Steps
from medtune.tasks import base
from medtune.training.finished import find_finished

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from medtune.data.manifest import PreparedDataset
    from medtune.models.classifier import Classifier
    from medtune.training.inputs import BatchSource


def run(params: Params, paths: RunPaths, fold: int | None = None) -> Artifact:
    """Train the head of one fold; resume if an earlier run was interrupted.

    Args:
        params: all params.
        paths: where to read and write.
        fold: test fold; None is the only one that the params name. `REFIT` trains on all images.

    Returns:
        The head of the best epoch by validation, at artifacts/frozen/fold-<k>.

    Raises:
        InputError: the data are not prepared with these params.
        RuntimeError: the loss is not finite, or the frozen backbone changed (it must not).
    """
    with distributed.main_process_first():
        steps = Steps(params, paths, several=True)
        step = steps.resolve("frozen", fold)
    assert step.fold is not None
    folder, fold, prepared = paths.stage("frozen", step.fold), step.fold, steps.prepared
    if done := find_finished(folder, step.key):
        return done
    import torch

    from medtune.data.slide_dataset import by_slide
    from medtune.models.weights import state_sha256
    from medtune.training.inputs import FeatureSource, PackedImageSource
    from medtune.training.malloc import retain_freed_memory
    from medtune.training.run_stage import StageSpec, run_training_stage
    from medtune.training.solved_head import HeadSolver

    retain_freed_memory()
    device = device_name()
    task = base.training(params.task.kind)
    model = task.build(params, task.n_outputs(prepared)).to(device)
    model.backbone.requires_grad_(False)
    before = state_sha256(model.backbone)
    feed, network = _build_source(model, prepared, params, paths, fold, device)
    stored = not isinstance(feed, PackedImageSource)
    _prepare_head(model, feed, stored, prepared.indices(fold)["train"], params.seed)

    def set_modes() -> None:
        model.eval()
        model.head.train()

    solver = None

    def record(best_epoch: int) -> dict[str, Any]:
        if state_sha256(model.backbone) != before:
            raise RuntimeError(f"{step.name}: the backbone changed while frozen; nothing was kept")
        return {
            "kept": "frozen",
            "trainable": sum(p.numel() for p in model.head.parameters()),
            "backbone_sha256": before,
            "stored_features": stored,
            **({"C": solver.strength} if solver else {}),
        }

    setup = StageSpec("frozen", network, model.head, "head", feed, set_modes, record, refit=step.refit)
    if params.model.head.solved:
        assert isinstance(feed, FeatureSource)  # else `_build_source` refused the params
        chosen = step.refit.strength if step.refit else None
        candidates = params.model.head.candidates if chosen is None else [chosen]
        solver = HeadSolver(feed.store, candidates, _refits(params), torch.device(device))
        setup.solve = solver
    if params.model.head.aggregation == ATTENTION:
        setup.slides, setup.score_batch_size = by_slide(prepared), params.frozen.batch_size
    return run_training_stage(setup, params, prepared, folder, fold, step.key, steps.group)


def _build_source(
    model: "Classifier", prepared: "PreparedDataset", params: Params, paths: RunPaths, fold: int, device: str
) -> tuple["BatchSource", "nn.Module"]:
    """Stored features and the head, or images and the whole network where the store is off or over its budget.

    Raises:
        InputError: the head needs stored features, and they are over the budget.
    """
    import torch

    from medtune.data.slide_dataset import by_slide
    from medtune.models.attention_pooling import BagModel
    from medtune.models.backbones import token_shape
    from medtune.models.classifier import stored_tokens
    from medtune.training import feature_cache
    from medtune.training import inputs as feeds
    from medtune.training.bags import BagSource

    views, budget = params.frozen.feature_views, params.frozen.feature_cache_gb
    needs_store = params.model.head.aggregation == ATTENTION or params.model.head.solved
    if views != "online":
        shape = token_shape(model.backbone, params.data.image_size)
        tokens = stored_tokens(model.feature_kind, shape)
        rows = feature_cache.required_indices(prepared.indices(fold), views, _refits(params))
        wanted = feature_cache.store_bytes(rows, tokens, shape.channels) / 1e9
        if wanted <= budget:
            with distributed.main_process_first():
                store = feature_cache.compute_features(model, prepared, params, rows, paths.cache, device)
            if params.model.head.aggregation == ATTENTION:
                return BagSource(store, by_slide(prepared), torch.device(device)), BagModel(model.head)
            return feeds.FeatureSource(store, torch.device(device)), model.head
        if needs_store:
            raise InputError(
                f"frozen.feature_cache_gb={budget:g}: the features of {views} views take {wanted:.1f} GB, and head "
                f"{params.model.head.kind} needs them stored. "
                f"Use frozen.feature_cache_gb={math.ceil(wanted)} or fewer views"
            )
        console.info(
            f"frozen: {views} views need {wanted:.1f} GB, frozen.feature_cache_gb is {budget:g}: "
            "running the backbone online"
        )
    feed = feeds.PackedImageSource(prepared, model, params.frozen.augment, torch.device(device))
    return feed, feeds.FrozenBackboneModel(model)


def _refits(params: Params) -> bool:
    """Whether the head is solved again on training and validation images: stage 2 still needs the latter unseen."""
    return params.model.head.solved and params.training_stages[-1] == "frozen"


def _prepare_head(model: "Classifier", source: "BatchSource", stored: bool, train: "np.ndarray", seed: int) -> None:
    """Shows the features of the training images to a head that wants to see them first."""
    import torch

    if prepare := getattr(model.head, "prepare", None):
        with torch.no_grad():
            inputs = (source.score(train[start : start + 32]) for start in range(0, len(train), 32))
            prepare((x if stored else model.features(x) for x in inputs), seed)

"""Stage frozen (stage 1): training of the head on features of the frozen backbone in eval mode."""

import math
from collections.abc import Callable
from pathlib import Path
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
    import torch

    from medtune.data.manifest import PreparedDataset
    from medtune.models.classifier import Classifier
    from medtune.training.inputs import BatchSource
    from medtune.training.stage_inputs import StageInputs

    BuildInputs = Callable[["Classifier", "PreparedDataset", Params, Path, int, torch.device], "StageInputs"]


def run(params: Params, paths: RunPaths, fold: int | None = None) -> Artifact:
    """Train the head of one fold. After an interruption, training resumes.

    Args:
        params: all params.
        paths: where to read and write.
        fold: test fold. None if the params select a single fold. `REFIT` trains on all images.

    Returns:
        The artifact artifacts/frozen/fold-<k> with the head of the best epoch on validation.

    Raises:
        InputError: the data is not prepared with these params.
        RuntimeError: the loss is not finite, or training changed the frozen backbone.
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
    from medtune.training.inputs import FeatureSource
    from medtune.training.malloc import retain_freed_memory
    from medtune.training.run_stage import StageSpec, run_training_stage
    from medtune.training.solved_head import HeadSolver

    retain_freed_memory()
    device = torch.device(device_name())
    task = base.training(params.task.kind)
    model = task.build(params, task.layout(prepared)).to(device)
    model.backbone.requires_grad_(False)
    before = state_sha256(model.backbone)
    build_inputs: BuildInputs = getattr(task, "frozen_inputs", _frozen_inputs)
    inputs = build_inputs(model, prepared, params, paths.cache, fold, device)
    _prepare_head(model, inputs.source, inputs.stored, prepared.indices(fold)["train"], params.seed)

    def set_modes() -> None:
        """Set the training modes of all modules."""
        model.eval()
        model.head.train()

    solver = None

    def record(best_epoch: int) -> dict[str, Any]:
        """Return additional entries of result.json. Raise RuntimeError if the backbone has changed."""
        if state_sha256(model.backbone) != before:
            raise RuntimeError(f"{step.name}: training changed the frozen backbone, so the result was discarded")
        return {
            "kept": "frozen",
            "trainable": sum(p.numel() for p in model.head.parameters()),
            "backbone_sha256": before,
            "stored_features": inputs.stored,
            **({"C": solver.strength} if solver else {}),
        }

    spec = StageSpec(
        "frozen", inputs.wrap(model), model.head, "head", inputs.source, set_modes, record,
        score_batch_size=inputs.score_batch_size, refit=step.refit, control=step.control,
    )  # fmt: skip
    if params.model.head.solved:
        source = inputs.source
        assert isinstance(source, FeatureSource)  # `_frozen_inputs` rejects other sources
        strength = step.refit.strength if step.refit else None
        candidates = params.model.head.candidates if strength is None else [strength]
        solver = HeadSolver(source.store, candidates, _refits(params), device)
        spec.solve = solver
    if params.model.head.aggregation == ATTENTION:
        spec.slides, spec.score_batch_size = by_slide(prepared), params.frozen.batch_size
    return run_training_stage(spec, params, prepared, folder, fold, step.key, steps.group)


def _frozen_inputs(
    model: "Classifier",
    prepared: "PreparedDataset",
    params: Params,
    cache: Path,
    fold: int,
    device: "torch.device",
) -> "StageInputs":
    """Create the inputs of a task of images (see `StageInputs`).

    Returns:
        Cached features as input of the head. If the cache is disabled or too small, images as input of the complete
        network.

    Raises:
        InputError: the head needs cached features, but they exceed the limit.
    """
    from medtune.data.slide_dataset import by_slide
    from medtune.models.attention_pooling import BagModel
    from medtune.models.backbones import token_shape
    from medtune.models.classifier import stored_tokens
    from medtune.training import feature_cache
    from medtune.training.bags import BagSource
    from medtune.training.inputs import FeatureSource, FrozenBackboneModel, PackedImageSource
    from medtune.training.stage_inputs import StageInputs

    views, budget = params.frozen.feature_views, params.frozen.feature_cache_gb
    needs_store = params.model.head.aggregation == ATTENTION or params.model.head.solved
    if views != "online":
        shape = token_shape(model.backbone, params.data.image_size)
        tokens = stored_tokens(model.feature_kind, shape)
        indices = feature_cache.required_indices(prepared.indices(fold), views, _refits(params))
        size_gb = feature_cache.store_bytes(indices, tokens, shape.channels) / 1e9
        if size_gb <= budget:
            with distributed.main_process_first():
                store = feature_cache.compute_features(model, prepared, params, indices, cache, str(device))
            if params.model.head.aggregation == ATTENTION:
                bags = BagSource(store, by_slide(prepared), device)
                return StageInputs(bags, lambda model: BagModel(model.head), stored=True)
            return StageInputs(FeatureSource(store, device), lambda model: model.head, stored=True)
        if needs_store:
            raise InputError(
                f"frozen.feature_cache_gb={budget:g}: features of {views} views need {size_gb:.1f} GB, and head "
                f"{params.model.head.kind} requires cached features. "
                f"Use frozen.feature_cache_gb={math.ceil(size_gb)} or fewer views"
            )
        console.info(
            f"frozen: features of {views} views need {size_gb:.1f} GB, but frozen.feature_cache_gb is {budget:g}; "
            "the backbone runs in every epoch"
        )
    return StageInputs(PackedImageSource(prepared, model, params.frozen.augment, device), FrozenBackboneModel)


def _refits(params: Params) -> bool:
    """Return True if the solved head is solved again on training and validation images.

    Stage 2 needs unseen validation images, so this happens only if stage 1 is the last stage.
    """
    return params.model.head.solved and params.training_stages[-1] == "frozen"


def _prepare_head(model: "Classifier", source: "BatchSource", stored: bool, train: "np.ndarray", seed: int) -> None:
    """Call `prepare` of the head with the features of the training images, if the head has this method."""
    import torch

    if prepare := getattr(model.head, "prepare", None):
        with torch.no_grad():
            inputs = (source.score(train[start : start + 32]) for start in range(0, len(train), 32))
            prepare((x if stored else model.features(x) for x in inputs), seed)

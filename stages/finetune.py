"""Stage 2: the whole network (or a PEFT method's part of it) trained from stage 1's best."""

from typing import Any

from medtune.config import registry
from medtune.config.schema import Params
from medtune.runtime import console, distributed
from medtune.runtime.artifact import Artifact
from medtune.runtime.device import device_name
from medtune.runtime.paths import RunPaths
from medtune.stages.steps import Steps
from medtune.tasks import base
from medtune.training.finished import find_finished


def run(params: Params, paths: RunPaths, fold: int | None = None) -> Artifact:
    """Train the network of one fold from stage 1's best; resume if an earlier run was interrupted.

    With schedule `full` it starts from the pretrained weights and a new head.

    Args:
        params: all params.
        paths: where to read and write.
        fold: test fold; None is the only one that the params name. `REFIT` trains on all images.

    Returns:
        The better of stage 1 and stage 2 by validation, at artifacts/finetune/fold-<k>; it says which.

    Raises:
        InputError: the data are not prepared with these params, or stage 1 has not run.
        RuntimeError: the loss is not finite, or stage 1's artifact is damaged.
    """
    with distributed.main_process_first():
        steps = Steps(params, paths, several=True)
        step = steps.resolve("finetune", fold)
    assert step.fold is not None
    folder, fold, frozen = paths.stage("finetune", step.fold), step.fold, next(iter(step.upstream), None)
    if done := find_finished(folder, step.key):
        return done
    import torch

    from medtune.models import classifier
    from medtune.models.adapt import adapt, after_step, merge, penalty, prepare
    from medtune.training.checkpoint import load_trained
    from medtune.training.inputs import PackedImageSource, iterate_labeled
    from medtune.training.malloc import retain_freed_memory
    from medtune.training.run_stage import StageSpec, run_training_stage
    from medtune.training.schedule import stream_seed
    from medtune.training.speed import use_channels_last, use_compile

    retain_freed_memory()
    prepared, options = steps.prepared, params.finetune
    device = torch.device(device_name())
    begun = load_trained(frozen) if frozen else None  # stage 1 as it is: some methods do not begin as it
    task = base.training(params.task.kind)
    model = load_trained(frozen) if frozen else task.build(params, task.n_outputs(prepared))
    torch.manual_seed(params.seed)  # what a method adds is drawn alike whether stage 1 was run or found
    model = adapt(model, params)
    innermost = use_channels_last(options.channels_last, params.model.backbone, device)
    for network in (model, begun):
        if network is not None:
            network.to(device)
            if innermost:
                network.to(memory_format=torch.channels_last)
    if options.gradient_checkpointing:
        model.backbone.set_grad_checkpointing(True)  # type: ignore[operator]
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)

    def set_modes() -> None:
        model.train()
        if params.model.batchnorm == "frozen":
            classifier.freeze_batchnorm(model.backbone)

    def finish(best_epoch: int, best: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], str]:
        if begun is not None and best_epoch == 0:
            return begun.state_dict(), "all"
        model.load_state_dict(best)
        merged = merge(model, params)
        return model.state_dict(), "all" if merged else "adapted"

    def record(best_epoch: int) -> dict[str, Any]:
        return {
            "kept": "frozen" if best_epoch == 0 else "finetune",  # epoch 0 is stage 1, scored before the first step
            "trainable": trainable,
            "stored_features": False,
        }

    feed = PackedImageSource(prepared, model, options.augment, device, innermost)
    rows, seed = prepared.indices(fold)["train"], stream_seed(params.seed, "prepare")
    prepare(model, iterate_labeled(feed, rows, prepared.targets, seed), params)
    setup = StageSpec(
        "finetune",
        model,
        model,
        "all",
        feed,
        set_modes,
        record,
        start=begun,
        upstream=(frozen,) if frozen else (),
        penalty=penalty(model, params),
        after_step=after_step(model, params),
        compile=use_compile(options.compile, device),
        head_lr=_head_rate(params, frozen),
        finish=finish,
        refit=step.refit,
    )
    artifact = run_training_stage(setup, params, prepared, folder, fold, step.key, steps.group)
    result = artifact.result()
    console.info(f"{step.name}: kept the {result['kept']} stage's weights (best epoch {result['best']['epoch']})")
    return artifact


def _head_rate(params: Params, frozen: Artifact | None) -> float | None:
    """Highest learning rate that suits the head: stage 1's, or without stage 1 the highest of the head's grid.

    None after a stage 1 that solved the head. PEFT methods have rates of up to 0.05, which would destroy some heads.
    """
    if frozen is not None:
        rate: float | None = frozen.result()["lr"]
        return rate
    head = params.model.head.kind
    return max(registry.load_plugin("medtune.models.heads", head, "model.head.kind").LR_GRID)

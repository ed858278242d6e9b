"""Stage finetune (stage 2): training of the complete network, or of a PEFT method such as LoRA.

Training starts from the best epoch of stage 1, which trained the head.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from medtune.config import registry
from medtune.config.schema import Params
from medtune.runtime import console, distributed
from medtune.runtime.artifact import Artifact
from medtune.runtime.device import device_name
from medtune.runtime.paths import RunPaths
from medtune.stages.steps import Steps
from medtune.tasks import base
from medtune.training.finished import find_finished

if TYPE_CHECKING:
    import torch

    from medtune.data.manifest import PreparedDataset
    from medtune.models.classifier import Classifier
    from medtune.training.stage_inputs import StageInputs

    BuildInputs = Callable[["Classifier", "PreparedDataset", Params, torch.device], "StageInputs"]


def run(params: Params, paths: RunPaths, fold: int | None = None) -> Artifact:
    """Train the network of one fold. After an interruption, training resumes.

    Without stage 1 (`schedule=full`), training starts from the pretrained weights and a new head.

    Args:
        params: all params.
        paths: where to read and write.
        fold: test fold. None if the params select a single fold. `REFIT` trains on all images.

    Returns:
        The artifact artifacts/finetune/fold-<k>. It contains the network of stage 1 or 2, whichever is better on
        validation.

    Raises:
        InputError: the data is not prepared with these params, or stage 1 has not run.
        RuntimeError: the loss is not finite, or the artifact of stage 1 is damaged.
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
    from medtune.training.malloc import retain_freed_memory
    from medtune.training.run_stage import StageSpec, run_training_stage
    from medtune.training.schedule import stream_seed
    from medtune.training.speed import to_channels_last, use_channels_last, use_compile

    retain_freed_memory()
    prepared, options = steps.prepared, params.finetune
    device = torch.device(device_name())
    start = load_trained(frozen) if frozen else None  # for epoch 0; some PEFT methods change the initial output
    task = base.training(params.task.kind)
    model = load_trained(frozen) if frozen else task.build(params, task.layout(prepared))
    torch.manual_seed(params.seed)  # new parameters must not depend on whether stage 1 ran in this process
    model = adapt(model, params)
    channels_last = use_channels_last(options.channels_last, params.model.backbone, device)
    for network in (model, start):
        if network is not None:
            network.to(device)
            if channels_last:
                to_channels_last(network)
    if options.gradient_checkpointing:
        model.backbone.set_grad_checkpointing(True)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)

    def set_modes() -> None:
        """Set the training modes of all modules."""
        model.train()
        if params.model.batchnorm == "frozen":
            classifier.freeze_batchnorm(model.backbone)

    def finish(best_epoch: int, best: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], str]:
        """Return the weights to store, and their kind: `all` or `adapted`."""
        if start is not None and best_epoch == 0:
            return start.state_dict(), "all"
        model.load_state_dict(best)
        merged = merge(model, params)
        return model.state_dict(), "all" if merged else "adapted"

    def record(best_epoch: int) -> dict[str, Any]:
        """Return additional entries of result.json."""
        return {
            "kept": "frozen" if best_epoch == 0 else "finetune",  # epoch 0 is the network of stage 1
            "trainable": trainable,
            "stored_features": False,
        }

    build_inputs: BuildInputs = getattr(task, "finetune_inputs", _finetune_inputs)
    inputs = build_inputs(model, prepared, params, device)
    assert inputs.labeled is not None
    prepare(model, inputs.labeled(prepared.indices(fold)["train"], stream_seed(params.seed, "prepare")), params)
    spec = StageSpec(
        "finetune",
        inputs.wrap(model),
        model,
        "all",
        inputs.source,
        set_modes,
        record,
        start=None if start is None else inputs.wrap(start),
        upstream=(frozen,) if frozen else (),
        penalty=penalty(model, params),
        after_step=after_step(model, params),
        compile=use_compile(options.compile, device),
        head_lr=_head_rate(params, frozen),
        score_batch_size=inputs.score_batch_size,
        finish=finish,
        refit=step.refit,
        control=step.control,
    )
    artifact = run_training_stage(spec, params, prepared, folder, fold, step.key, steps.group)
    result = artifact.result()
    console.info(f"{step.name}: selected the weights of stage {result['kept']} (best epoch {result['best']['epoch']})")
    return artifact


def _finetune_inputs(
    model: "Classifier", prepared: "PreparedDataset", params: Params, device: "torch.device"
) -> "StageInputs":
    """Create the inputs of a task of images: augmented images and the complete network (see `StageInputs`)."""
    from medtune.training.inputs import PackedImageSource, iterate_labeled
    from medtune.training.speed import use_channels_last
    from medtune.training.stage_inputs import StageInputs

    channels_last = use_channels_last(params.finetune.channels_last, params.model.backbone, device)
    source = PackedImageSource(prepared, model, params.finetune.augment, device, channels_last)
    return StageInputs(
        source,
        lambda network: network,
        labeled=lambda rows, seed: iterate_labeled(source, rows, prepared.targets, seed),
    )


def _head_rate(params: Params, frozen: Artifact | None) -> float | None:
    """Return the maximum learning rate for the head. PEFT methods use rates up to 0.05, which are too high for a head.

    Returns:
        The rate of stage 1. Without stage 1, the highest rate in the grid of the head. None if stage 1 solved the head
        in closed form, because then no rate is known.
    """
    if frozen is not None:
        rate: float | None = frozen.result()["lr"]
        return rate
    head = params.model.head.kind
    return float(max(registry.load_plugin("medtune.models.heads", head, "model.head.kind").LR_GRID))

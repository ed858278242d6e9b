"""Stage 2: the whole network (or a PEFT method's part of it) trained from stage 1's best."""

from typing import TYPE_CHECKING, Any

from medtune.config.schema import Params
from medtune.runtime import cache_key as keys
from medtune.runtime import console
from medtune.runtime.artifact import Artifact
from medtune.runtime.device import device_class, device_name
from medtune.runtime.paths import Paths
from medtune.training.finished import finished

if TYPE_CHECKING:
    from medtune.data.manifest import Prepared


def key(params: Params, prepared: "Prepared", fold: int, frozen: Artifact | None) -> str:
    """Cache key of the chain whose test fold is `fold`; `frozen` is stage 1's artifact, None under `full`."""
    inputs = {"data": prepared.digest, "roles": prepared.roles_digest(fold), "frozen": frozen and frozen.sha256}
    return keys.stage_key("finetune", params, inputs, device_class())


def run(
    params: Params,
    paths: Paths,
    fold: int,
    frozen: Artifact | None,
    key: str,
    group: str,
    prepared: "Prepared | None" = None,
) -> Artifact:
    """The better of stage 1 and stage 2 on validation, saying which; resumes where an earlier run was cut.

    Args:
        frozen: stage 1's artifact, loaded strictly; None starts from the pretrained weights and a new head.
        prepared: the data that `key` was made from; None: those in `paths.prepared`.

    Raises:
        RuntimeError: the loss is not finite, or stage 1's artifact is damaged.
    """
    folder = paths.stage("finetune", fold)
    if done := finished(folder, key):
        return done
    import torch

    from medtune.data.manifest import load_prepared
    from medtune.models import classifier
    from medtune.models.adapt import adapt, after_step, merge, penalty, prepare
    from medtune.training.checkpoint import load_trained
    from medtune.training.fit import Setup, fit
    from medtune.training.inputs import ImageFeed, labelled
    from medtune.training.malloc import keep_freed_memory
    from medtune.training.schedule import stream_seed
    from medtune.training.speed import channels_last, compiled

    keep_freed_memory()
    prepared, options = prepared or load_prepared(paths.prepared), params.finetune
    device = torch.device(device_name())
    begun = load_trained(frozen) if frozen else None  # stage 1 as it is: some methods do not begin as it
    model = load_trained(frozen) if frozen else classifier.build(params, len(prepared.classes))
    torch.manual_seed(params.seed)  # what a method adds is drawn alike whether stage 1 was run or found
    model = adapt(model, params)
    innermost = channels_last(options.channels_last, params.model.backbone, device)
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

    feed = ImageFeed(prepared, model, options.augment, device, innermost)
    rows, seed = prepared.indices(fold)["train"], stream_seed(params.seed, "prepare")
    prepare(model, labelled(feed, rows, prepared.labels, seed), params)
    setup = Setup(
        "finetune",
        model,
        model,
        "all",
        feed,
        set_modes,
        record,
        start=begun,
        uses=(frozen,) if frozen else (),
        penalty=penalty(model, params),
        after_step=after_step(model, params),
        compile=compiled(options.compile, device),
        finish=finish,
    )
    artifact = fit(setup, params, prepared, folder, fold, key, group)
    result = artifact.result()
    console.say(
        f"finetune fold {fold}: kept the {result['kept']} stage's weights (best epoch {result['best']['epoch']})"
    )
    return artifact

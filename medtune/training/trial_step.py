"""Trial step of each training stage on random inputs, which detects problems before training."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from medtune.config.errors import InputError
from medtune.config.schema import DEFAULT_TASK, Params
from medtune.models.adapt import adapt, after_step, merge, penalty, prepare
from medtune.models.classifier import Classifier, freeze_batchnorm
from medtune.models.network import Network
from medtune.models.slice_network import SliceNetwork
from medtune.runtime.device import device_name
from medtune.serving.one_line import first_line
from medtune.tasks import base
from medtune.training.optimizer import build_accelerator, build_optimizer
from medtune.training.speed import to_channels_last, use_channels_last

BATCH_SIZE = 2
STEPS = 1


@dataclass
class TrialResult:
    """Result of the trial steps.

    Attributes:
        network: network with random weights, on the CPU in eval mode, ready for a trial export.
        batch_of_one: error message by stage, for stages that cannot train on a batch of one image.
    """

    network: Network
    batch_of_one: dict[str, str] = field(default_factory=dict)


def run_trial_steps(params: Params, layout: Any) -> TrialResult:
    """Train a network with random weights for one step per stage, with the optimizer and precision of the params.

    Args:
        params: all params; no weights are read.
        layout: properties of the data as from `Training.layout`, with a small patch for volumes.

    Returns:
        The network and the stages that need more than one image per batch.

    Raises:
        InputError: a step fails, the loss is not finite, or the tensors of a PEFT method receive no gradients.
    """
    bare = params.model_copy(update={"model": params.model.model_copy(update={"weights": "none"})})
    device = torch.device(device_name())
    with torch.random.fork_rng():  # the trial must not affect the random numbers of the run
        model: Network = base.training(params.task.kind).build(bare, layout, load_weights=False).to(device)
        inputs = _inputs(params, model, layout, device)
        result = TrialResult(model)
        if "frozen" in params.training_stages:
            stored = params.frozen.feature_views != "online" and params.model.weights == "none"
            _guard(params, "frozen", lambda: _train_head(bare, model, inputs, result, stored))
        if "finetune" in params.training_stages:
            _guard(params, "finetune", lambda: _finetune(bare, model, inputs, result))
    model.to(memory_format=torch.contiguous_format)
    result.network = model.to("cpu").float().eval().requires_grad_(False)
    return result


def _guard(params: Params, stage: str, run: Callable[[], None]) -> None:
    """Call `run`, the step of a stage, and convert exceptions of any type to InputError."""
    try:
        run()
    except InputError:
        raise
    except Exception as error:  # networks raise exceptions of any type
        args = f" with backbone_args {dict(params.model.backbone_args)!r}" if params.model.backbone_args else ""
        raise InputError(
            f"model.backbone={params.model.backbone}: a training step of stage {stage} fails{args} "
            f"({first_line(error, with_type=True)}). Change model.backbone, model.backbone_args, model.head or "
            "model.peft.method"
        ) from error


def _train_head(params: Params, model: Network, inputs: Tensor, result: TrialResult, stored: bool) -> None:
    """Train the head for one step.

    Args:
        params: all params.
        model: the network.
        inputs: a batch for the network.
        result: receives the error message for a batch of one image, if there is one.
        stored: True if the run stores the same features in half precision.

    Raises:
        InputError: features exceed half precision.
    """
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    model.eval()
    model.head.train()
    with torch.no_grad():
        features = _features(model, inputs)
    if stored and not all(torch.isfinite(part.half()).all() for part in features):
        raise InputError(
            f"frozen.feature_views={params.frozen.feature_views}: features of {params.model.backbone} exceed half "
            "precision, in which they are stored. Set frozen.feature_views=online"
        )
    if isinstance(model, Classifier):
        _steps(params, "frozen", model.head, features[0], result)
    else:
        _steps(params, "frozen", model, inputs, result)
    model.requires_grad_(True)


def _finetune(params: Params, model: Network, inputs: Tensor, result: TrialResult) -> None:
    """Inject the PEFT method, train for one step and merge the method."""
    channels_last = use_channels_last(params.finetune.channels_last, params.model.backbone, inputs.device)
    adapt(model, params).to(inputs.device)
    if channels_last:
        to_channels_last(model)
    if params.finetune.gradient_checkpointing:
        model.backbone.set_grad_checkpointing(True)  # type: ignore[operator]
    model.train()
    if params.model.batchnorm == "frozen":
        freeze_batchnorm(model.backbone)
    is_volume = inputs.ndim == 5
    if channels_last and not is_volume:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    if params.task.kind == DEFAULT_TASK or is_volume:  # other tasks have other targets
        targets = inputs.new_zeros(len(inputs), *(inputs.shape[2:] if is_volume else ()), dtype=torch.int64)
        prepare(model, [(inputs, targets)], params)
    _steps(params, "finetune", model, inputs, result, penalty(model, params), after_step(model, params))
    if params.finetune.gradient_checkpointing:
        model.backbone.set_grad_checkpointing(False)  # type: ignore[operator]
    model.eval()
    merge(model, params)


def _steps(
    params: Params,
    stage: str,
    network: nn.Module,
    inputs: Tensor,
    result: TrialResult,
    extra: Callable[[], Tensor] | None = None,
    done: Callable[[int, int], None] | None = None,
) -> None:
    # Trains for `STEPS` steps, then tries a batch of one image. `extra` is the penalty of the PEFT method, and `done`
    # is its function `after_step`.
    section = getattr(params, stage)
    lr = params.learning_rates(stage)[0]  # the lowest rate; the search excludes higher rates that diverge
    accelerator = build_accelerator(section, str(inputs.device), False)
    trained, optimizer = accelerator.prepare(network, build_optimizer(network, section, lr))

    def loss_of(batch: Tensor) -> Tensor:
        """Return the cross-entropy of the first output, whose gradients resemble those of any task."""
        with accelerator.autocast():
            output = trained(batch).float().movedim(1, -1)
        loss: Tensor = output.logsumexp(-1).mean() - output[..., 0].mean()
        return loss + extra() if extra else loss

    for step in range(STEPS + 1):
        loss = loss_of(inputs)
        if not torch.isfinite(loss):
            after = f"after {step} step on random images" if step else "at the first step"
            raise InputError(
                f"{stage}.lr={lr:g}: the loss is {loss.item()} {after}. Lower {stage}.lr, or set {stage}.precision=fp32"
            )
        if step == STEPS:
            break
        accelerator.backward(loss)
        _check_gradients(params, stage, network)
        if section.clip_norm:
            accelerator.clip_grad_norm_(network.parameters(), section.clip_norm)
        optimizer.step()
        if done:
            done(step + 1, STEPS)
        optimizer.zero_grad(set_to_none=True)
    try:
        loss_of(inputs[:1]).backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # BatchNorm raises ValueError, other layers raise exceptions of any type
        result.batch_of_one[stage] = first_line(error)
    network.zero_grad(set_to_none=True)


def _check_gradients(params: Params, stage: str, network: nn.Module) -> None:
    """Check that the forward pass of the backbone uses the layers that the PEFT method trains."""
    if stage != "finetune" or params.model.peft.method == "none":
        return
    assert isinstance(network, Network)
    trained = [parameter for parameter in network.backbone.parameters() if parameter.requires_grad]
    if trained and all(parameter.grad is None for parameter in trained):
        raise InputError(
            f"model.peft.method={params.model.peft.method}: it has no effect on {params.model.backbone}, whose forward "
            f"pass does not use the {len(trained)} tensors that it trains. Choose another method"
        )


def _inputs(params: Params, model: Network, layout: Any, device: torch.device) -> Tensor:
    """Return random images (B, 3, H, W) or volumes (B, C, X, Y, Z), normalized."""
    if not isinstance(model, Classifier):
        return torch.randn(BATCH_SIZE, layout["channels"], *layout["patch"], device=device)
    side = params.data.image_size
    images = torch.randint(0, 256, (BATCH_SIZE, side, side, 3), dtype=torch.uint8, device=device)
    return model.preprocess(images)


def _features(model: Network, inputs: Tensor) -> list[Tensor]:
    """Return the features that stage 1 may store; empty for a network that reads volumes."""
    if isinstance(model, Classifier):
        return [model.features(inputs)]
    return model.levels(inputs) if isinstance(model, SliceNetwork) else []

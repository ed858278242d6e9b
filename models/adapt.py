"""What stage 2 trains: the whole network, or a PEFT method's part of it and the head."""

from collections.abc import Callable, Iterable
from types import ModuleType

from torch import Tensor

from medtune.config import registry
from medtune.config.schema import Params
from medtune.models.classifier import Classifier


def load_method(params: Params) -> ModuleType:
    """The file in models/peft that params name."""
    return registry.load_plugin("medtune.models.peft", params.model.peft.method, "model.peft.method")


def adapt(model: Classifier, params: Params) -> Classifier:
    """`model` as stage 2 trains it: the method's tensors and the head have requires_grad, nothing else."""
    model.backbone = load_method(params).inject(model.backbone, params.model.peft)
    model.head.requires_grad_(True)
    return model


def prepare(model: Classifier, batches: Iterable[tuple[Tensor, Tensor]], params: Params) -> None:
    """Shows an adapted `model` its training images, where the method's file has a `prepare` that asks for them.

    Args:
        model: as `adapt` left it; the method may write into what it trains, not into what is frozen.
        batches: normalised images (B, 3, H, W) and labels (B,), the same at every call; drawn from only if asked for.
        params: all params.
    """
    method = load_method(params)
    if hasattr(method, "prepare"):
        method.prepare(model, batches, params.model.peft)


def penalty(model: Classifier, params: Params) -> Callable[[], Tensor] | None:
    """What gives the term () that the method adds to the loss of a step; None where it adds none."""
    method = load_method(params)
    if not hasattr(method, "penalty"):
        return None
    return lambda: method.penalty(model.backbone, params.model.peft)


def after_step(model: Classifier, params: Params) -> Callable[[int, int], None] | None:
    """What the method does after an optimizer step, told (steps done, steps in all); None where it does nothing.

    The step's gradients are still there. Whatever it remembers lies in buffers, or a resumed run would differ.
    """
    method = load_method(params)
    if not hasattr(method, "after_step"):
        return None
    return lambda step, steps: method.after_step(model.backbone, params.model.peft, step, steps)


def merge(model: Classifier, params: Params) -> bool:
    """Whether the method could be merged; `model` then is a plain network again, of the plain network's cost."""
    method = load_method(params)
    if not hasattr(method, "merge"):
        return False
    model.backbone = method.merge(model.backbone)
    return True

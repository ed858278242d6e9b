"""Preparation of a network for stage 2: full fine-tuning, or a PEFT method and the head."""

from collections.abc import Callable, Iterable
from types import ModuleType

from torch import Tensor

from medtune.config import registry
from medtune.config.schema import Params
from medtune.models.classifier import Classifier


def load_method(params: Params) -> ModuleType:
    """Return the module in models/peft that `model.peft.method` names."""
    return registry.load_plugin("medtune.models.peft", params.model.peft.method, "model.peft.method")


def adapt(model: Classifier, params: Params) -> Classifier:
    """Inject the PEFT method and set requires_grad for its tensors and the head only.

    Args:
        model: changed in place.
        params: all params.

    Returns:
        The same model.
    """
    model.backbone = load_method(params).inject(model.backbone, params.model.peft)
    model.head.requires_grad_(True)
    return model


def prepare(model: Classifier, batches: Iterable[tuple[Tensor, Tensor]], params: Params) -> None:
    """Call the `prepare` function of the method, if it has one, with training images.

    Args:
        model: adapted by `adapt`. The method may change the parameters that it trains, but no frozen parameters.
        batches: normalized images (B, 3, H, W) and labels (B,), the same on every call. They are read only if the
            method needs them.
        params: all params.
    """
    method = load_method(params)
    if hasattr(method, "prepare"):
        method.prepare(model, batches, params.model.peft)


def penalty(model: Classifier, params: Params) -> Callable[[], Tensor] | None:
    """Return a function that computes the penalty () of the method, to be added to the loss of every step.

    Args:
        model: adapted by `adapt`.
        params: all params.

    Returns:
        The function; None if the method has no penalty.
    """
    method = load_method(params)
    if not hasattr(method, "penalty"):
        return None
    return lambda: method.penalty(model.backbone, params.model.peft)


def after_step(model: Classifier, params: Params) -> Callable[[int, int], None] | None:
    """Return the function of the method to call after every optimizer step, before the gradients are cleared.

    The method must keep its state in buffers. Otherwise a resumed run would differ.

    Args:
        model: adapted by `adapt`.
        params: all params.

    Returns:
        A function of (steps done, total steps); None if the method has none.
    """
    method = load_method(params)
    if not hasattr(method, "after_step"):
        return None
    return lambda step, steps: method.after_step(model.backbone, params.model.peft, step, steps)


def merge(model: Classifier, params: Params) -> bool:
    """Merge the method into the weights, which restores the plain network and its computational cost.

    Args:
        model: adapted by `adapt`, changed in place.
        params: all params.

    Returns:
        True if the method can be merged; otherwise the model is unchanged.
    """
    method = load_method(params)
    if not hasattr(method, "merge"):
        return False
    model.backbone = method.merge(model.backbone)
    return True

"""Functions that call the PEFT method of a network before, during and after stage 2 (`finetune`).

A PEFT method is a module of models/peft. The method `none` trains all weights.
"""

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import TypeVar

from torch import Tensor

from medtune.config import registry
from medtune.config.schema import Params
from medtune.models.network import Network

AnyNetwork = TypeVar("AnyNetwork", bound=Network)


def load_method(params: Params) -> ModuleType:
    """Return the module in models/peft that `model.peft.method` names."""
    return registry.load_plugin("medtune.models.peft", params.model.peft.method, "model.peft.method")


def adapt(model: AnyNetwork, params: Params) -> AnyNetwork:
    """Inject the PEFT method. Set requires_grad of the tensors that the method trains and of the head.

    Args:
        model: changed in place.
        params: all params.

    Returns:
        The same model.
    """
    if any(True for _ in model.backbone.parameters()):  # model.backbone=none has an empty backbone
        model.backbone = load_method(params).inject(model.backbone, params.model.peft)
    model.head.requires_grad_(True)
    return model


def prepare(model: Network, batches: Iterable[tuple[Tensor, Tensor]], params: Params) -> None:
    """Call the function `prepare` of the PEFT method with training data, if the method has this function.

    Args:
        model: adapted by `adapt`. `prepare` may change parameters that the method trains, but no frozen parameters.
        batches: pairs of network inputs and targets, the same in every call. Inputs are normalized images (B, 3, H, W)
            with labels (B,), or volumes (B, C, X, Y, Z) with masks (B, X, Y, Z). Most methods do not read the pairs.
        params: all params.
    """
    method = load_method(params)
    if hasattr(method, "prepare"):
        method.prepare(model, batches, params.model.peft)


def penalty(model: Network, params: Params) -> Callable[[], Tensor] | None:
    """Return a function that computes the penalty of the PEFT method, a scalar. The training loop adds it to the loss.

    Args:
        model: adapted by `adapt`.
        params: all params.

    Returns:
        The function of no arguments; None if the method has no penalty.
    """
    method = load_method(params)
    if not hasattr(method, "penalty"):
        return None
    return lambda: method.penalty(model.backbone, params.model.peft)


def after_step(model: Network, params: Params) -> Callable[[int, int], None] | None:
    """Return the method's function that must be called after every optimizer step, before gradients are cleared.

    The method must store its state in buffers. A resumed run restores only buffers and parameters.

    Args:
        model: adapted by `adapt`.
        params: all params.

    Returns:
        A function of the number of completed steps and the total number of steps. None if the method has no such
        function.
    """
    method = load_method(params)
    if not hasattr(method, "after_step"):
        return None
    return lambda step, steps: method.after_step(model.backbone, params.model.peft, step, steps)


def merge(model: Network, params: Params) -> bool:
    """Merge the trained change into the weights. The network then has its original architecture and cost.

    Args:
        model: adapted by `adapt`, changed in place.
        params: all params.

    Returns:
        True if the method can be merged. False otherwise; the model is then unchanged.
    """
    method = load_method(params)
    if not hasattr(method, "merge"):
        return False
    model.backbone = method.merge(model.backbone)
    return True

"""Hyperparameters selected on validation in each training stage.

A head that a solver fits has C, the inverse strength of the L2 penalty. Other heads and networks have a learning rate
and an epoch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Choices = dict[str, dict[str, Any]]


def record_choices(
    stage: str, strength: float | None, lr: float | None, epoch: int, upstream: Sequence[Mapping[str, Any]] = ()
) -> Choices:
    """Collect the selected hyperparameters of this stage and of the previous stages.

    Args:
        stage: name of this stage.
        strength: C of a head that a solver fits; None for heads that are trained by gradient descent.
        lr: selected learning rate.
        epoch: best epoch at this rate. 0 is the network of the previous stage.
        upstream: result.json of the previous stages.

    Returns:
        Value of `choices` in result.json: `{stage: {"C": ...}}` or `{stage: {"lr": ..., "epoch": ...}}`.
    """
    previous = {name: choice for result in upstream for name, choice in result.get("choices", {}).items()}
    return {**previous, stage: {"lr": lr, "epoch": epoch} if strength is None else {"C": strength}}


def describe_choices(choices: Mapping[str, Mapping[str, Any]]) -> str:
    """Format the choices as `C 2` or `lr 0.01, epoch 7`.

    With several stages, the format is `frozen: C 2; finetune: lr 0.0001, epoch 3`.

    Args:
        choices: result of `record_choices`.

    Returns:
        The text.
    """
    texts = {name: _describe(choice) for name, choice in choices.items()}
    return "; ".join(f"{name}: {text}" for name, text in texts.items()) if len(texts) > 1 else "".join(texts.values())


def _describe(choice: Mapping[str, Any]) -> str:
    return f"C {choice['C']:g}" if "C" in choice else f"lr {choice['lr']:g}, epoch {choice['epoch']}"

"""What validation chose in the training stages of a network: C, or the learning rate and the epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

Choices = dict[str, dict[str, Any]]


def record_choices(
    stage: str, strength: float | None, lr: float | None, epoch: int, upstream: Sequence[Mapping[str, Any]] = ()
) -> Choices:
    """Collect what result.json says under `choices`: `{stage: {"C": ...}}` or `{stage: {"lr": ..., "epoch": ...}}`.

    Args:
        stage: this stage.
        strength: C of a head that was solved; None for other heads.
        lr: chosen learning rate.
        epoch: best epoch at this rate; 0 is the network of the stage before.
        upstream: result.json of the stages before.
    """
    before = {name: choice for result in upstream for name, choice in result.get("choices", {}).items()}
    return {**before, stage: {"lr": lr, "epoch": epoch} if strength is None else {"C": strength}}


def describe_choices(choices: Mapping[str, Mapping[str, Any]]) -> str:
    """`C 2`, `lr 0.01, epoch 7`, with several stages `frozen: C 2; finetune: lr 0.0001, epoch 3`."""
    found = {name: _describe(choice) for name, choice in choices.items()}
    return "; ".join(f"{name}: {text}" for name, text in found.items()) if len(found) > 1 else "".join(found.values())


def _describe(choice: Mapping[str, Any]) -> str:
    return f"C {choice['C']:g}" if "C" in choice else f"lr {choice['lr']:g}, epoch {choice['epoch']}"

"""Learning rate candidates per head and PEFT method."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from medtune.config import registry
from medtune.config.errors import suggestion
from medtune.config.names import Name

# Plugins that each stage trains. PEFT method `none` is full fine-tuning.
TRAINED: dict[str, tuple[str, str]] = {
    "frozen": ("head", "medtune.models.heads"),
    "finetune": ("PEFT method", "medtune.models.peft"),
}
Rate = Annotated[float, Field(gt=0)]
Rates = Literal["auto"] | Rate | Annotated[list[Rate], Field(min_length=1)]
LearningRate = Rates | Annotated[dict[Name, Rates], Field(min_length=1)]


def lr_field(name: str, rate: float) -> Any:
    """Return the field `lr` of a stage.

    Args:
        name: head or PEFT method, for the examples in messages.
        rate: a suitable learning rate.
    """
    return Field(
        "auto",
        description="learning rate: a number, a list of candidates, or a mapping from head or PEFT method to either. "
        "auto: candidates of the head or PEFT method. The best candidate is selected on validation",
        examples=[[rate / 10, rate], {name: rate}],
    )


def check_names(stage: str, lr: object) -> None:
    """Raise if a mapping of learning rates names an unknown head or PEFT method.

    Args:
        stage: `frozen` or `finetune`.
        lr: value of the stage's `lr`.

    Raises:
        ValueError: a name is unknown. The message lists the known names.
    """
    if not isinstance(lr, Mapping):
        return
    kind, package = TRAINED[stage]
    known = registry.plugin_names(package)
    for name in lr:
        if name not in known:
            raise ValueError(f"unknown {kind} {name!r}{suggestion(name, known)}. Choose one of: {', '.join(known)}")


def resolve(stage: str, lr: object, name: str) -> tuple[float, ...]:
    """Return the candidate learning rates of a stage, ascending. The stage selects one on the validation images.

    Args:
        stage: `frozen` or `finetune`.
        lr: value of the stage's `lr`.
        name: head or PEFT method that the stage trains.

    Returns:
        One rate if `lr` names one. Otherwise the listed rates or the `LR_GRID` of the head or PEFT method.
    """
    if isinstance(lr, Mapping):
        lr = lr.get(name, "auto")
    if lr == "auto":
        lr = registry.load_plugin(TRAINED[stage][1], name, "model").LR_GRID
    return tuple(sorted(set(lr))) if isinstance(lr, list | tuple) else (float(lr),)  # type: ignore[arg-type]

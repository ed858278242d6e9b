"""Learning rate candidates per head and PEFT method."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from medtune.config import registry
from medtune.config.errors import suggestion
from medtune.config.names import Name

# Plugins that each stage trains. PEFT method `none` is full fine-tuning.
TRAINED: dict[str, tuple[str, str]] = {
    "frozen": ("head", "medtune.models.heads"),
    "finetune": ("PEFT method", "medtune.models.peft"),
}
ALLOWED = (
    'expected "auto", a finite number above 0, a list of such numbers, or a mapping from heads (frozen) or PEFT '
    "methods (finetune) to such values, for example {linear: 0.001}"
)


def _check(value: Any) -> Any:
    rates = list(value.values()) if isinstance(value, dict) and value else [value]
    if not all(rate == "auto" or _is_rate(rate) or _is_list(rate) for rate in rates):
        raise ValueError(ALLOWED)
    return value


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_rate, value))


Rate = Annotated[float, Field(gt=0)]
Rates = Literal["auto"] | Rate | Annotated[list[Rate], Field(min_length=1)]
# The check runs first because pydantic would report one error per member of the union.
LearningRate = Annotated[Rates | dict[Name, Rates], BeforeValidator(_check)]


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

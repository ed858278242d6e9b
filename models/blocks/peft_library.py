"""The peft library's tuners on a timm backbone: injected in place, merged without a wrapper left."""

from typing import Any

from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from torch import nn

from medtune.config.errors import InputError
from medtune.models.blocks.target_layers import default_targets
from medtune.serving.one_line import first_line

TUNER_ATTRIBUTE = "_tuner"


def resolve_targets(backbone: nn.Module, names: list[str] | None = None) -> list[str]:
    """`names`, or without them `default_targets`; at least one.

    Raises:
        InputError: the method finds no layer it knows.
    """
    names = default_targets(backbone) if names is None else names
    if not names:
        raise InputError(f"model.peft.method finds no layer to adapt in {type(backbone).__name__}")
    return names


def inject_adapter(backbone: nn.Module, config: PeftConfig, names: list[str] | None = None) -> nn.Module:
    """`backbone` with `config`'s adapter in its target layers; only the adapter is trained.

    Raises:
        InputError: the method finds no layer it knows, or cannot change one of them.
    """
    config.target_modules = resolve_targets(backbone, names)
    try:
        tuner: Any = PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](backbone, {"default": config}, "default")
    except (AssertionError, NotImplementedError, TypeError, ValueError) as error:
        raise InputError(
            f"model.peft.method cannot change the layers of {type(backbone).__name__}: {first_line(error)}"
        ) from None
    backbone.__dict__[TUNER_ATTRIBUTE] = tuner  # past nn.Module's bookkeeping: the tuner holds the backbone in turn
    return backbone


def merge_adapter(backbone: nn.Module) -> nn.Module:
    """`backbone` with the adapter's update in its own weights, and plain layers again."""
    return backbone.__dict__.pop(TUNER_ATTRIBUTE).merge_and_unload()

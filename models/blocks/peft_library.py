"""Injection of adapters of the peft library into timm backbones, and merging of the adapters."""

from typing import Any

from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from torch import nn

from medtune.config.errors import InputError
from medtune.models.blocks.conv3d_update import replace_update
from medtune.models.blocks.target_layers import default_targets
from medtune.serving.one_line import first_line

# Attribute of a backbone that stores the object of the peft library that merges the adapters.
TUNER_ATTRIBUTE = "_tuner"


def resolve_targets(backbone: nn.Module, names: list[str] | None = None) -> list[str]:
    """Return the target layers: `names`, or the default targets of the backbone.

    Args:
        backbone: a timm model.
        names: module names; None selects `default_targets`.

    Returns:
        At least one module name.

    Raises:
        InputError: there is no target layer.
    """
    names = default_targets(backbone) if names is None else names
    if not names:
        raise InputError(
            f"model.peft.method: it found no layer to adapt in {type(backbone).__name__}. Choose another method"
        )
    return names


def inject_adapter(backbone: nn.Module, config: PeftConfig, names: list[str] | None = None) -> nn.Module:
    """Inject an adapter of the peft library into the target layers. Only the adapter is trained.

    Args:
        backbone: a timm model, changed in place.
        config: configuration of the adapter.
        names: target modules; None selects `default_targets`.

    Returns:
        The same backbone.

    Raises:
        InputError: there is no target layer, or the library does not support one of them.
    """
    config.target_modules = resolve_targets(backbone, names)
    try:
        tuner: Any = PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](backbone, {"default": config}, "default")
    except (AssertionError, NotImplementedError, TypeError, ValueError) as error:
        raise InputError(
            f"model.peft.method: it cannot adapt the layers of {type(backbone).__name__} ({first_line(error)}). "
            "Choose another method"
        ) from None
    backbone.__dict__[TUNER_ATTRIBUTE] = tuner  # not as a submodule, because the tuner contains the backbone
    return replace_update(backbone)


def merge_adapter(backbone: nn.Module) -> nn.Module:
    """Merge the adapter into the weights of `backbone` and restore plain layers."""
    return backbone.__dict__.pop(TUNER_ATTRIBUTE).merge_and_unload()

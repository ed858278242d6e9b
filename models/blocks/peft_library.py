"""The peft library's tuners on a timm backbone: injected in place, merged without a wrapper left."""

from typing import Any

from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from torch import nn

from medtune.config.errors import InputError
from medtune.models.blocks.selection import CLASSIFIER_PREFIXES

TUNER_ATTRIBUTE = "_tuner"


def default_targets(backbone: nn.Module) -> list[str]:
    """Names of the layers that are adapted: the fused qkv of a ViT, else the stages' pointwise and dense convolutions.

    Whole names, not suffixes: `proj` would also match `patch_embed.proj`. Depthwise convolutions are left out.
    """
    if hasattr(backbone, "blocks") and hasattr(backbone, "patch_embed"):
        return [name for name, _ in backbone.named_modules() if name.startswith("blocks.") and name.endswith(".qkv")]
    layers = [
        name
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    ]
    return [name for name in layers if "." in name and not name.startswith(("stem", "conv_stem", *CLASSIFIER_PREFIXES))]


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
        InputError: the method finds no layer it knows.
    """
    config.target_modules = resolve_targets(backbone, names)
    tuner: Any = PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type](backbone, {"default": config}, "default")
    backbone.__dict__[TUNER_ATTRIBUTE] = tuner  # past nn.Module's bookkeeping: the tuner holds the backbone in turn
    return backbone


def merge_adapter(backbone: nn.Module) -> nn.Module:
    """`backbone` with the adapter's update in its own weights, and plain layers again."""
    return backbone.__dict__.pop(TUNER_ATTRIBUTE).merge_and_unload()

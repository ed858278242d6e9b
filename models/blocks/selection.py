"""Which parameters of a backbone are what: norms, biases, attention; and freezing all but some."""

from collections.abc import Callable, Iterator

from torch import nn

from medtune.config.errors import InputError

# Layers that only timm's own classifier passes through: MedTune reads the features before them.
CLASSIFIER_PREFIXES = ("head.", "fc_norm.", "attn_pool.")
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def set_trainable(backbone: nn.Module, is_selected: Callable[[str, nn.Parameter], bool]) -> nn.Module:
    """`backbone`, with requires_grad exactly where `is_selected(name, parameter)`.

    Raises:
        InputError: nothing is chosen; the method has no hold on this backbone.
    """
    count = 0
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(not name.startswith(CLASSIFIER_PREFIXES) and is_selected(name, parameter))
        count += parameter.requires_grad
    if not count:
        raise InputError(f"model.peft.method finds nothing to train in {type(backbone).__name__}")
    return backbone


def norm_names(backbone: nn.Module) -> set[str]:
    """Names of the scale and shift of every norm layer."""
    return {
        f"{prefix}.{name}"
        for prefix, module in backbone.named_modules()
        if isinstance(module, NORMS)
        for name, _ in module.named_parameters(recurse=False)
    }


def vit_blocks(backbone: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of every transformer block: `.norm1 .attn(.qkv .proj) .norm2 .mlp(.fc1 .fc2)`."""
    for index, block in enumerate(backbone.blocks):  # type: ignore[arg-type,union-attr]
        yield f"blocks.{index}", block


def is_attention(name: str) -> bool:
    """Whether a parameter belongs to the attention of a block; `patch_embed.proj` does not."""
    return name.startswith("blocks.") and ".attn." in name and (".qkv." in name or ".proj." in name)


def branch_ends(backbone: nn.Module) -> list[tuple[nn.Module, list[str]]]:
    """Last layer of every residual branch, with the names of its tensors that scale what the branch adds.

    ViT: `attn.proj` and `mlp.fc2`. ConvNeXt: the block's `gamma`. ResNet and MobileNet: the block's last norm.
    """
    ends: list[tuple[nn.Module, list[str]]] = []
    for module in backbone.modules():
        if hasattr(module, "attn") and hasattr(module, "mlp"):
            ends += [(layer, ["weight", "bias"]) for layer in (module.attn.proj, module.mlp.fc2)]
        elif isinstance(getattr(module, "gamma", None), nn.Parameter):
            ends.append((module, ["gamma"]))
        else:
            norms = [norm for name in ("bn3", "bn2") if isinstance(norm := getattr(module, name, None), NORMS)]
            ends += [(norm, ["weight", "bias"]) for norm in norms[:1]]
    return ends

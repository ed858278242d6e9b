"""Selection of the parameters of a backbone that a PEFT method trains, by type and name of the layer."""

from collections.abc import Callable, Iterator

from torch import nn

from medtune.config.errors import InputError

# Layers of timm's classifier. MedTune does not use them, because its heads read the features before these layers.
CLASSIFIER_PREFIXES = ("head.", "fc_norm.", "attn_pool.")
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


def set_trainable(backbone: nn.Module, is_selected: Callable[[str, nn.Parameter], bool]) -> nn.Module:
    """Set requires_grad to `is_selected(name, parameter)` for every parameter, and to False in timm's classifier.

    Args:
        backbone: a timm model, changed in place.
        is_selected: called with the name and the parameter.

    Returns:
        The same backbone.

    Raises:
        InputError: no parameter is selected.
    """
    count = 0
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(not name.startswith(CLASSIFIER_PREFIXES) and is_selected(name, parameter))
        count += parameter.requires_grad
    if not count:
        raise InputError(f"model.peft.method: it matches no layer of {type(backbone).__name__}. Choose another method")
    return backbone


def norm_names(backbone: nn.Module) -> set[str]:
    """Return the names of the parameters of every norm layer."""
    return {
        f"{prefix}.{name}"
        for prefix, module in backbone.named_modules()
        if isinstance(module, NORMS)
        for name, _ in module.named_parameters(recurse=False)
    }


def vit_blocks(backbone: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield name and module of every block of a ViT. A block has norm1, attn (qkv, proj), norm2 and mlp (fc1, fc2)."""
    for index, block in enumerate(backbone.blocks):
        yield f"blocks.{index}", block


def is_attention(name: str) -> bool:
    """Return True if a parameter belongs to the attention of a block. `patch_embed.proj` does not belong to it."""
    return name.startswith("blocks.") and ".attn." in name and (".qkv." in name or ".proj." in name)


def branch_ends(backbone: nn.Module) -> list[tuple[nn.Module, list[str]]]:
    """Find the last layer of every residual branch.

    In a ViT, these layers are `attn.proj` and `mlp.fc2`. In a ResNet or MobileNet, they are the last norms of the
    blocks. In a ConvNeXt, the block itself is returned with its parameter `gamma`.

    Args:
        backbone: a timm model.

    Returns:
        Pairs of a layer and the names of its parameters that scale the output of the branch.
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

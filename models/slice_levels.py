"""Feature maps of a timm backbone at four levels: outputs of blocks of a ViT, or of stages of a CNN."""

from typing import Any

import torch
from torch import Tensor, nn

from medtune.config.errors import InputError
from medtune.models.attach import family_of
from medtune.serving.one_line import first_line

LEVELS = 4


def uses_tokens(backbone: nn.Module) -> bool:
    """Return True if the backbone is a ViT, whose blocks have the same number of patch tokens."""
    return family_of(backbone) == "vit"


def remove_unused(backbone: nn.Module) -> nn.Module:
    """Remove the layers of a CNN behind the last level, such as the last 1x1 convolution and norm.

    The removed layers would get no gradient, because the levels do not depend on them. A ViT stays unchanged.

    Args:
        backbone: a timm model with its weights, changed in place, before a PEFT method is injected.

    Returns:
        The same backbone.

    Raises:
        InputError: the backbone has no intermediate feature maps.
    """
    if uses_tokens(backbone):
        return backbone
    model: Any = backbone
    try:
        model.prune_intermediate_layers(_indices(backbone), prune_norm=True, prune_head=True)
    except Exception as error:  # timm's functions raise exceptions of any type
        raise InputError(
            f"model.backbone={type(backbone).__name__}: it has no feature maps at several levels "
            f"({first_line(error)}). Use a ViT or a CNN"
        ) from None
    return backbone


def level_features(backbone: nn.Module, images: Tensor) -> list[Tensor]:
    """Compute the feature maps of the levels.

    The levels of a CNN are the outputs of its last four stages. The levels of a ViT are the outputs of four evenly
    spaced blocks. The output of the last block is taken after the final norm. Hooks read the outputs of the other
    blocks. timm's `forward_intermediates` would bypass the prompt tokens of `vpt`.

    Args:
        backbone: a timm model from `remove_unused`, which a PEFT method may have changed.
        images: (B, 3, H, W) in the size that the backbone supports.

    Returns:
        At most four feature maps (B, C, h, w), the first level first.
    """
    if uses_tokens(backbone):
        return _vit_levels(backbone, images)
    model: Any = backbone
    features: list[Tensor] = model.forward_intermediates(
        images, indices=_indices(backbone), intermediates_only=True, output_fmt="NCHW"
    )
    return features


def level_shapes(backbone: nn.Module, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return channels and height of each level for images of `size` = (height, width) in pixels.

    Raises:
        InputError: the backbone does not support the size, or its levels are not maps (B, C, h, w).
    """
    device = next(backbone.parameters()).device
    training = backbone.training
    try:
        with torch.no_grad():
            levels = level_features(backbone.eval(), torch.zeros(1, 3, *size, device=device))
        return [(count, height) for _, count, height, _ in (level.shape for level in levels)]
    except Exception as error:  # backbones raise exceptions of any type
        height, width = size
        raise InputError(
            f"model.backbone={type(backbone).__name__}: it has no feature maps of images of {height} x {width} pixels "
            f"({first_line(error).rstrip('.')}). Set model.backbone_args={{img_size: [{height}, {width}]}}, or use "
            "another backbone"
        ) from None
    finally:
        backbone.train(training)


def _vit_levels(backbone: Any, images: Tensor) -> list[Tensor]:
    """Return the outputs of three blocks and of the final norm as maps (B, C, h, w)."""
    blocks = list(backbone.blocks)
    ends = [-(-len(blocks) * level // LEVELS) - 1 for level in range(1, LEVELS)]
    outputs: dict[int, Tensor] = {}

    def add_hook(index: int) -> Any:
        def record(_: nn.Module, __: Any, output: Tensor) -> None:
            outputs[index] = output

        return blocks[index].register_forward_hook(record)

    handles = [add_hook(index) for index in sorted(set(ends))]
    try:
        last = backbone.forward_features(images)
    finally:
        for handle in handles:
            handle.remove()
    patch = backbone.patch_embed.patch_size
    height, width = images.shape[2] // patch[0], images.shape[3] // patch[1]
    return [_to_map(tokens, height, width) for tokens in (*(outputs[index] for index in ends), last)]


def _to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """Return the map (B, C, h, w) of the last h * w tokens. Class, register and prompt tokens precede them."""
    patches = tokens[:, -height * width :]
    return torch.unflatten(patches.transpose(1, 2), 2, (height, width))


def _indices(backbone: nn.Module) -> list[int]:
    """Return the indices of the last four stages of a CNN."""
    info: Any = backbone.feature_info
    return list(range(len(info)))[-LEVELS:]

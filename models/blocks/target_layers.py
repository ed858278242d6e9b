"""Search for the layers that PEFT methods adapt, such as the projections of the attention, in any timm network."""

from collections.abc import Iterator
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from medtune.config.errors import InputError
from medtune.models.blocks.selection import CLASSIFIER_PREFIXES
from medtune.models.blocks.volume_layers import is_volume_network
from medtune.serving.one_line import first_line

# Names of the layers that project tokens to queries, keys and values, in one layer or in several.
PROJECTIONS = {
    "in_proj", "k", "k_proj", "key", "kv", "q", "q_proj", "qk", "qkv", "qkvm", "query", "to_kv", "to_q", "to_qkv", "v",
    "v_proj", "value",
}  # fmt: skip
# Name prefixes of the layers before the first stage.
STEMS = ("stem", "conv_stem", "patch_embed")


def default_targets(backbone: nn.Module) -> list[str]:
    """Return the names of the layers that are adapted by default.

    - Transformer: the linear layers that project to queries, keys and values. Some attention modules use the weights of
      these layers without calling the layers. An update of such a layer would have no effect. The function then returns
      all linear layers that a forward pass calls, except layers for position biases.
    - CNN: all linear layers and convolutions of the stages.
    - Network that reads volumes: the projections of a transformer or, without projections, all linear layers and 3-D
      convolutions.

    Grouped, depthwise and transposed convolutions are never returned.

    Args:
        backbone: a timm model, or a network that reads volumes.

    Returns:
        Full module names, because a suffix such as `proj` would also match `patch_embed.proj`.
    """
    if type(backbone) is VisionTransformer:
        return [name for name, _ in backbone.named_modules() if name.startswith("blocks.") and name.endswith(".qkv")]
    layers = [
        name
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d | nn.Conv3d) and module.groups == 1)
    ]
    if is_volume_network(backbone):  # a forward pass calls all its layers
        return [name for name in layers if _projects(name)] or layers
    layers = [name for name in layers if "." in name and not name.startswith((*STEMS, *CLASSIFIER_PREFIXES))]
    linear = [name for name in layers if isinstance(backbone.get_submodule(name), nn.Linear)]
    if not any(_projects(name) for name in linear):
        return layers
    called = called_layers(backbone, linear)
    return [name for name in called if _projects(name)] or [name for name in called if not _is_position(name)]


def feedforward_targets(backbone: nn.Module) -> list[str]:
    """Return the names of the second linear layers of the MLPs of a transformer; empty for other networks."""
    names = [name for name, module in backbone.named_modules() if isinstance(module, nn.Linear)]
    outputs = [name for name in names if name.endswith(".mlp.fc2")]
    in_blocks = [name for name in outputs if name.startswith("blocks.")]
    if type(backbone) is VisionTransformer or not outputs:
        return in_blocks
    if not any(_projects(name) for name in names):
        return in_blocks
    return called_layers(backbone, outputs)


def called_layers(backbone: nn.Module, names: list[str]) -> list[str]:
    """Return the layers in `names` that a forward pass calls.

    Args:
        backbone: a timm model.
        names: module names.

    Returns:
        Names of the called layers, in the order of `names`.

    Raises:
        InputError: the backbone does not run.
    """
    called: set[str] = set()

    def add_hook(name: str) -> Any:
        return backbone.get_submodule(name).register_forward_hook(lambda *_: called.add(name))

    handles = [add_hook(name) for name in names]
    training = backbone.training
    try:
        run_features(backbone.eval())
    finally:
        backbone.train(training)
        for handle in handles:
            handle.remove()
    return [name for name in names if name in called]


def run_features(backbone: nn.Module) -> None:
    """Run the backbone on an image of zeros in a size that it supports.

    Args:
        backbone: a timm model.

    Raises:
        InputError: the backbone ran at none of the sizes that were tried.
    """
    device = next(backbone.parameters()).device
    for height, width in dict.fromkeys(_sizes(backbone)):
        try:
            with torch.no_grad():
                backbone.forward_features(torch.zeros(1, 3, height, width, device=device))
            return
        except Exception as error:  # backbones raise exceptions of any type
            last = error
    raise InputError(
        f"model.peft.method: it cannot search for layers in {type(backbone).__name__}, because the network does not "
        f"run ({first_line(last)}). Choose another backbone"
    )


def _sizes(backbone: nn.Module) -> Iterator[tuple[int, int]]:
    """Yield heights and widths in pixels that the backbone may support, the most likely first."""
    for fixed in (
        getattr(getattr(backbone, "patch_embed", None), "img_size", None),
        getattr(backbone, "img_size", None),
        (getattr(backbone, "pretrained_cfg", None) or {}).get("input_size", (3,))[1:],
    ):
        if isinstance(fixed, int):
            yield fixed, fixed
        elif fixed and len(fixed) == 2:
            yield int(fixed[0]), int(fixed[1])
    # Hiera supports a single size and has attributes only for its token grid.
    shape, stride = getattr(backbone, "tokens_spatial_shape", None), getattr(backbone, "patch_stride", None)
    if shape and stride and len(shape) == len(stride) == 2:
        yield shape[0] * stride[0], shape[1] * stride[1]
    yield from ((side, side) for side in range(32, 513, 32))


def _is_position(name: str) -> bool:
    """Return True if the name is that of a layer for position biases, such as `cpb_mlp` of Swin V2."""
    return any(word in name for word in ("cpb_mlp", "rel_pos", "pos_embed", "pos_mlp"))


def _projects(name: str) -> bool:
    """Return True if the name is that of a projection to queries, keys or values."""
    parts = name.split(".")
    # A projection may be wrapped with its norm, as in LeViT: `attn.qkv.linear`.
    return parts[-1] in PROJECTIONS or (parts[-1] in ("linear", "proj") and parts[-2] in PROJECTIONS)

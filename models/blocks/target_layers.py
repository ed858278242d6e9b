"""Which layers a method of low-rank or similar updates adapts, found in any timm network."""

from collections.abc import Iterator
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from medtune.config.errors import InputError
from medtune.models.blocks.selection import CLASSIFIER_PREFIXES
from medtune.serving.one_line import first_line

# Names of the layers that project tokens to queries, keys and values, fused or apart.
PROJECTIONS = {
    "in_proj", "k", "k_proj", "key", "kv", "q", "q_proj", "qk", "qkv", "qkvm", "query", "to_kv", "to_q", "to_qkv", "v",
    "v_proj", "value",
}  # fmt: skip
STEMS = ("stem", "conv_stem", "patch_embed")


def default_targets(backbone: nn.Module) -> list[str]:
    """Names of the layers that are adapted.

    In a transformer they are the linear layers that project queries, keys and values, or all linear layers of the
    blocks if the attention uses its weights without calling the layer: a change of such a layer would have no effect.
    In a CNN they are the stages' pointwise and dense convolutions. Depthwise convolutions are left out.

    Names are whole, not suffixes: `proj` would also match `patch_embed.proj`.
    """
    if type(backbone) is VisionTransformer:
        return [name for name, _ in backbone.named_modules() if name.startswith("blocks.") and name.endswith(".qkv")]
    layers = [
        name
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    ]
    layers = [name for name in layers if "." in name and not name.startswith((*STEMS, *CLASSIFIER_PREFIXES))]
    linear = [name for name in layers if isinstance(backbone.get_submodule(name), nn.Linear)]
    if not any(_projects(name) for name in linear):
        return layers
    called = called_layers(backbone, linear)
    return [name for name in called if _projects(name)] or [name for name in called if not _is_position(name)]


def feedforward_targets(backbone: nn.Module) -> list[str]:
    """Names of the second linear layer of each transformer block's MLP."""
    names = [name for name, module in backbone.named_modules() if isinstance(module, nn.Linear)]
    found = [name for name in names if name.endswith(".mlp.fc2")]
    in_blocks = [name for name in found if name.startswith("blocks.")]
    if type(backbone) is VisionTransformer or not found:
        return in_blocks
    if not any(_projects(name) for name in names):
        return in_blocks
    return called_layers(backbone, found)


def called_layers(backbone: nn.Module, names: list[str]) -> list[str]:
    """Those of the named layers that a forward pass calls, in the order of the network.

    Raises:
        InputError: the backbone does not run.
    """
    called: set[str] = set()

    def record(name: str) -> Any:
        return backbone.get_submodule(name).register_forward_hook(lambda *_: called.add(name))

    handles = [record(name) for name in names]
    training = backbone.training
    try:
        run_features(backbone.eval())
    finally:
        backbone.train(training)
        for handle in handles:
            handle.remove()
    return [name for name in names if name in called]


def run_features(backbone: nn.Module) -> None:
    """Run the backbone on one empty image of a size that it takes.

    Raises:
        InputError: it takes none of the sizes that were tried.
    """
    device = next(backbone.parameters()).device
    for height, width in dict.fromkeys(_sizes(backbone)):
        try:
            with torch.no_grad():
                backbone.forward_features(torch.zeros(1, 3, height, width, device=device))  # type: ignore[operator]
            return
        except Exception as error:  # a backbone raises whatever its first wrong line raises
            last = error
    raise InputError(
        f"model.peft.method cannot look for layers in {type(backbone).__name__}, which does not run: {first_line(last)}"
    )


def _sizes(backbone: nn.Module) -> Iterator[tuple[int, int]]:
    """Heights and widths in pixels that the backbone may take, the most likely first."""
    for fixed in (
        getattr(getattr(backbone, "patch_embed", None), "img_size", None),
        getattr(backbone, "img_size", None),
        (getattr(backbone, "pretrained_cfg", None) or {}).get("input_size", (3,))[1:],
    ):
        if isinstance(fixed, int):
            yield fixed, fixed
        elif fixed and len(fixed) == 2:
            yield int(fixed[0]), int(fixed[1])
    # Hiera takes one size and names only its grid of tokens.
    shape, stride = getattr(backbone, "tokens_spatial_shape", None), getattr(backbone, "patch_stride", None)
    if shape and stride and len(shape) == len(stride) == 2:
        yield shape[0] * stride[0], shape[1] * stride[1]
    yield from ((side, side) for side in range(32, 513, 32))


def _is_position(name: str) -> bool:
    """Whether a layer computes position biases, as the `cpb_mlp` of Swin V2 does."""
    return any(word in name for word in ("cpb_mlp", "rel_pos", "pos_embed", "pos_mlp"))


def _projects(name: str) -> bool:
    parts = name.split(".")
    # A projection may be wrapped with its norm, as in LeViT: `attn.qkv.linear`.
    return parts[-1] in PROJECTIONS or (parts[-1] in ("linear", "proj") and parts[-2] in PROJECTIONS)

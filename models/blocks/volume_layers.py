"""Search for layers of networks that read volumes, for PEFT methods."""

from typing import Any

import torch
from torch import Tensor, nn

from medtune.config.errors import InputError

# X, Y and Z of a random volume in voxels. Networks divide each side by at most 32, so their deepest level has at least
# four voxels. An instance norm of two voxels would pass almost no gradient.
PROBE_SHAPE = (64, 64, 32)
# A shift with a smaller relative gradient has no effect. Noise is below 1e-5, and effective shifts are above 1e-3.
NO_EFFECT = 1e-4
# Ends of the residual branches of MONAI's blocks: paths of the last norm (empty: none) and of the layer before it.
# {last} is the name of the last unit.
BRANCHES = {
    "ResidualUnit": (("conv.{last}.adn.N", "conv.{last}.conv"),),
    "UnetResBlock": (("norm2", "conv2.conv"),),
    "ResBlock": (("", "conv2.conv"),),
    "SwinTransformerBlock": (("", "attn.proj"), ("", "mlp.linear2")),
}


def is_volume_network(backbone: nn.Module) -> bool:
    """Return True if the network has a 3-D convolution."""
    return any(isinstance(module, nn.Conv3d) for module in backbone.modules())


def normalized_layers(backbone: nn.Module) -> set[str]:
    """Return the names of 3-D convolutions whose scale and shift per channel have no effect.

    An instance norm after a convolution removes scale and shift of every channel. If a skip connection also reads the
    output of the convolution, scale and shift still have an effect. Therefore the function computes the gradient of the
    shift for a random volume, in eval mode.

    Args:
        backbone: any network. The result is empty for a network without 3-D convolutions.

    Returns:
        Module names.
    """
    first = next((module for module in backbone.modules() if isinstance(module, nn.Conv3d)), None)
    if first is None or not any(_is_channelwise(module) for module in backbone.modules()):
        return set()
    outputs: dict[str, Tensor] = {}
    read: set[int] = set()  # ids of tensors that an instance norm reads
    handles = []
    for name, module in backbone.named_modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            handles.append(module.register_forward_hook(_recorder(outputs, name)))
        elif _is_channelwise(module):
            handles.append(module.register_forward_pre_hook(lambda _, inputs: read.add(id(inputs[0]))))
    generator = torch.Generator().manual_seed(0)
    volume = torch.randn(1, first.in_channels, *PROBE_SHAPE, generator=generator).to(first.weight.device)
    training = backbone.training
    try:
        with torch.enable_grad():
            features = backbone.eval()(volume.requires_grad_())
    finally:
        backbone.train(training)
        for handle in handles:
            handle.remove()
    candidates = {name: output for name, output in outputs.items() if id(output) in read}
    if not candidates:
        return set()
    loss = sum(
        (feature * torch.randn(feature.shape, generator=generator).to(feature.device)).sum()
        for feature in ([features] if isinstance(features, Tensor) else features)
    )
    gradients = torch.autograd.grad(loss, list(candidates.values()))
    return {name for name, gradient in zip(candidates, gradients, strict=True) if _shift_effect(gradient) < NO_EFFECT}


def bias_names(backbone: nn.Module) -> set[str]:
    """Return the names of all biases except those of `normalized_layers`, which have no effect."""
    normalized = {f"{name}.bias" for name in normalized_layers(backbone)}
    return {name for name, _ in backbone.named_parameters() if name.endswith("bias")} - normalized


def volume_branch_ends(backbone: nn.Module) -> list[tuple[nn.Module, list[str]]]:
    """Find the last layer of every residual branch of MONAI's blocks.

    The last layer is a norm, or a convolution or linear layer that no norm follows. A branch that ends in a norm
    without parameters is left out.

    Args:
        backbone: a network that reads volumes.

    Returns:
        Pairs of a layer and the names of its parameters that scale the output of the branch.

    Raises:
        InputError: there is no residual branch.
    """
    ends: list[tuple[nn.Module, list[str]]] = []
    for module in backbone.modules():
        for norm_path, layer_path in BRANCHES.get(type(module).__name__, ()):
            last = list(dict(module.conv.named_children()))[-1] if "{last}" in layer_path else ""
            norm = _find(module, norm_path.format(last=last)) if norm_path else None
            layer = norm or module.get_submodule(layer_path.format(last=last))
            tensors = [name for name in ("weight", "bias") if getattr(layer, name, None) is not None]
            if tensors:
                ends.append((layer, tensors))
    if not ends:
        raise InputError(
            f"model.peft.method: it found no residual branch in {type(backbone).__name__}. Choose another method"
        )
    return ends


def _is_channelwise(module: nn.Module) -> bool:
    """Return True if the module normalizes each channel of each volume separately."""
    if isinstance(module, nn.GroupNorm):
        return module.num_groups == module.num_channels
    return isinstance(module, nn.modules.instancenorm._InstanceNorm) and not module.track_running_stats


def _recorder(outputs: dict[str, Tensor], name: str) -> Any:
    """Return a forward hook that stores the output of a module under `name`."""

    def record(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
        outputs[name] = output

    return record


def _shift_effect(gradient: Tensor) -> float:
    """Return the largest gradient of a channel's shift, relative to the sum of absolute gradients in the channel."""
    axes = (0, *range(2, gradient.dim()))
    return float((gradient.sum(axes).abs() / gradient.abs().sum(axes).clamp_min(1e-30)).max())


def _find(module: nn.Module, path: str) -> nn.Module | None:
    """Return the submodule at `path`; None if there is none."""
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None

"""Networks that read volumes: MONAI's networks and a pretrained brain U-Net, split into encoder and decoder.

The encoder is the backbone, which PEFT methods adapt. The decoder is the head and is always trained (FSEFT,
Silva-Rodriguez et al. 2025, arXiv 2303.17051).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from medtune.config import registry
from medtune.config.errors import InputError, show_value, suggestion
from medtune.models.brain_unet import BrainUNet, split_brain_unet
from medtune.models.peft_support import VOLUME, supported, supports
from medtune.models.volume_parts import split_dynunet, split_segresnet, split_swinunetr, split_unet
from medtune.models.volume_weights import load_parts
from medtune.models.weights import read_weights
from medtune.models.window_network import WindowNetwork, window_features
from medtune.serving.one_line import first_line

# MONAI's default instance norm has no scale and shift, which PEFT methods train.
AFFINE_NORM = ("INSTANCE", {"affine": True})

# Smallest number of voxels at the deepest level. With two voxels, an instance norm amplifies rounding errors. The ONNX
# model then differed from torch by 5e-4.
DEEPEST = 8


@dataclass(frozen=True)
class Architecture:
    """Constructor of a network, its default arguments, and its split into encoder and decoder.

    Attributes:
        monai: name of the class in monai.networks.nets; empty for the brain U-Net.
        defaults: default arguments of the constructor, which make the network small.
        split: maps the network to its encoder and decoder.
        factors: maps the arguments to the sides X, Y and Z in voxels of one element of the deepest level.
    """

    monai: str
    defaults: Mapping[str, Any]
    split: Callable[[Any], tuple[nn.Module, nn.Module]]
    factors: Callable[[Mapping[str, Any]], tuple[int, int, int]]


def _strides(args: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return the products of all strides along X, Y and Z."""
    steps = [(stride,) * 3 if isinstance(stride, int) else tuple(stride) for stride in args["strides"]]
    x, y, z = (prod(step[axis] for step in steps) for axis in range(3))
    return x, y, z


def _cube(side: int) -> tuple[int, int, int]:
    return side, side, side


ARCHITECTURES = {
    "unet": Architecture(
        "UNet",
        {"channels": (16, 32, 64, 128), "strides": (2, 2, 2), "num_res_units": 2, "norm": AFFINE_NORM},
        split_unet,
        _strides,
    ),
    "dynunet": Architecture(
        "DynUNet",
        {"kernel_size": (3,) * 4, "strides": (1, 2, 2, 2), "upsample_kernel_size": (2, 2, 2),
         "filters": (16, 32, 64, 128), "norm_name": AFFINE_NORM, "res_block": True},
        split_dynunet,
        _strides,
    ),
    "segresnet": Architecture(
        "SegResNet",
        {"init_filters": 16, "blocks_down": (1, 1, 2, 2), "blocks_up": (1, 1, 1)},
        split_segresnet,
        lambda args: _cube(2 ** (len(args["blocks_down"]) - 1)),
    ),
    "swinunetr": Architecture(
        "SwinUNETR", {"feature_size": 12, "patch_size": 2}, split_swinunetr, lambda args: _cube(args["patch_size"] ** 5)
    ),
    "brain_unet3d": Architecture("", {}, split_brain_unet, lambda args: _cube(8)),
}  # fmt: skip
# Arguments that users cannot set: MedTune sets them, or they change the outputs of the decoder.
FIXED = ("spatial_dims", "in_channels", "out_channels", "deep_supervision", "use_conv_final")


class VolumeNetwork(WindowNetwork):
    """Encoder and decoder, which map a volume to logits.

    Attributes:
        backbone: maps volumes (B, C, X, Y, Z) to a list of feature maps.
        head: the decoder, which maps the feature maps to logits (B, K, X, Y, Z).
        factors: numbers of voxels. The sides X, Y and Z of a patch must be multiples of them.
        patch: X, Y and Z of a training patch in voxels.
    """

    patch: tuple[int, int, int]

    def __init__(self, backbone: nn.Module, head: nn.Module, factors: tuple[int, int, int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.factors = factors

    def forward(self, volumes: Tensor) -> Tensor:
        """Map volumes (B, C, X, Y, Z) to logits (B, K, X, Y, Z)."""
        return self.head(self.backbone(volumes))

    def forward_with_features(self, volumes: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits, and features of the deepest level of the encoder and of the logits."""
        maps = self.backbone(volumes)
        logits = self.head(maps)
        return logits, window_features([maps[-1], logits])


def create_volume_network(
    name: str,
    channels: int,
    classes: int,
    weights: str = "none",
    args: Mapping[str, Any] | None = None,
) -> VolumeNetwork:
    """Create a network that reads volumes.

    Args:
        name: key of ARCHITECTURES, `model.backbone`.
        channels: number of channels of the volumes, C.
        classes: number of classes including the background, K.
        weights: `none` for random weights, or the path of a weights file, `model.weights`. All tensors of the encoder
            must be in the file. Tensors of the decoder with another shape keep their random weights.
        args: arguments of MONAI's class that replace the defaults, `model.backbone_args`.

    Returns:
        The network in eval mode.

    Raises:
        InputError: MONAI is missing, the name, an argument or the weights are unknown, or the weights do not fit.
    """
    architecture = _architecture(name)
    merged = {**architecture.defaults, **(args or {})}
    if fixed := [key for key in FIXED if key in merged]:
        raise InputError(f"model.backbone_args={show_value(args)}: {fixed[0]} is not an option. Remove it")
    if weights in ("hub", "bundled"):
        raise InputError(f"model.weights={weights}: no weights are published for {name}. Use none or a file")
    cls = _monai_class(name, architecture.monai) if architecture.monai else BrainUNet
    dims = {"spatial_dims": 3} if architecture.monai else {}
    try:
        with torch.device("cpu"):  # the constructor of SwinUNETR reads values, which the meta device does not have
            network = cls(in_channels=channels, out_channels=classes, **dims, **merged)
        backbone, head = architecture.split(network)
    except (AttributeError, IndexError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        raise InputError(
            f"model.backbone_args={show_value(args or {})}: {name} does not accept them ({first_line(error)}). "
            "Set model.backbone_args={} for the defaults"
        ) from None
    if weights != "none":
        states, setting = read_weights(weights, name)
        load_parts(network, backbone, states, name, setting)
    return VolumeNetwork(backbone, head, architecture.factors(merged)).eval()


def check_patch(network: VolumeNetwork, name: str, patch: Sequence[int]) -> None:
    """Check that the network supports the size of a patch.

    Args:
        network: from `create_volume_network`.
        name: name of the network, for the message.
        patch: X, Y and Z in voxels.

    Raises:
        InputError: a side is not a multiple of its `factors` entry, or the deepest level has too few voxels.
    """
    levels = [divmod(side, factor) for side, factor in zip(patch, network.factors, strict=True)]
    if any(rest or not count for count, rest in levels) or prod(count for count, _ in levels) < DEEPEST:
        x, y, z = network.factors
        raise InputError(
            f"data.patch={list(patch)}: {name} needs multiples of [{x}, {y}, {z}] voxels, and at least {DEEPEST} "
            f"voxels at its deepest level. Use [{2 * x}, {2 * y}, {2 * z}] or larger multiples"
        )


def check_method(name: str, method: str) -> None:
    """Check that a PEFT method supports networks that read volumes.

    Args:
        name: `model.backbone`.
        method: `model.peft.method`.

    Raises:
        InputError: the network or the method is unknown, or the method does not support the network.
    """
    _architecture(name)
    plugin = registry.load_plugin("medtune.models.peft", method, "model.peft.method")
    if not supports(plugin, VOLUME):
        raise InputError(f"model.peft.method={method}: it does not support {name} (family {VOLUME}). "
                         f"It supports {supported(plugin)}")  # fmt: skip


def _architecture(name: str) -> Architecture:
    if name not in ARCHITECTURES:
        raise InputError(
            f"model.backbone={name}: not a network for volumes{suggestion(name, list(ARCHITECTURES))}. "
            f"Use one of {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[name]


def _monai_class(name: str, class_name: str) -> Any:
    """Import and return a class of MONAI. The import takes seconds, so it is not at the top of the module."""
    try:
        import monai.networks.nets

        if name == "swinunetr":
            import einops  # noqa: F401
    except ImportError as error:
        package = "einops" if "einops" in str(error) else "MONAI"
        raise InputError(
            f'model.backbone={name}: it needs {package}, which is not installed. Run pip install "medtune[segment]"'
        ) from None
    return getattr(monai.networks.nets, class_name)

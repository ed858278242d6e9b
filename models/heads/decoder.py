"""Head `decoder`: a light 3-D decoder that maps a volume and the features of its slices to logits per voxel."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from medtune.config.schema import HeadParams

if TYPE_CHECKING:
    from torch import nn

    from medtune.models.slice_network import Normalization, SliceNetwork

LR_GRID = (1e-3, 3e-3)
AXES = "xyz"


class Params(HeadParams):
    """Options of the slices and of the decoder. Networks that read volumes, such as `unet`, have their own decoder."""

    kind: Literal["decoder"] = "decoder"
    slice_scale: Annotated[float, Field(ge=0.5, le=8)] = Field(
        2.0, description="pixels of the backbone's image per voxel. Use a larger value for smaller structures"
    )
    slice_axis: Literal["x", "y", "z"] = Field("z", description="axis along which the slices follow each other")
    width: Annotated[int, Field(ge=4, le=128)] = Field(
        16, description="channels of the decoder at full resolution. Half the width takes about half the time"
    )

    @property
    def reads_volumes(self) -> bool:
        """True, because the head reads volumes, not images."""
        return True


def build(
    params: Params,
    backbone: "nn.Module | None",
    channels: int,
    classes: int,
    patch: Sequence[int],
    normalization: "Normalization | None" = None,
) -> "SliceNetwork":
    """Build the network of backbone and decoder.

    Args:
        params: options of the head.
        backbone: timm model with its weights; None for the decoder alone.
        channels: number of channels of the volume.
        classes: number of classes including the background.
        patch: largest X, Y and Z of a patch in voxels.
        normalization: mean and standard deviation of images that the weights require. None: ImageNet's.

    Returns:
        The network.
    """
    from medtune.models.slice_network import SliceNetwork

    axis = AXES.index(params.slice_axis)
    return SliceNetwork(backbone, channels, classes, patch, params.slice_scale, axis, normalization, params.width)


def image_side(params: Params, patch: Sequence[int], patch_size: int) -> int:
    """Return the side in pixels of the images that a ViT reads for the slices of a patch.

    Args:
        params: options of the head.
        patch: X, Y and Z of a patch in voxels.
        patch_size: side of the ViT's own patches in pixels.

    Returns:
        A multiple of `patch_size`.
    """
    from medtune.models.slice_network import slice_side

    return slice_side(patch, params.slice_scale, patch_size, AXES.index(params.slice_axis))

"""U-Net of deepbrain 0.1, a network for brain extraction from T1-weighted MR (I. Itzcovich 2018, MIT license)."""

import torch
from torch import Tensor, nn

from medtune.models.volume_parts import LevelEncoder, SkipDecoder

CHANNELS = (8, 16, 32)


class _Level(nn.Module):
    """Level of the encoder: a 2x2x2 max pooling if `pool`, then two 3x3x3 convolutions with ReLU."""

    def __init__(self, inner: int, out: int, pool: bool) -> None:
        super().__init__()
        self.pool = nn.MaxPool3d(2) if pool else nn.Identity()
        self.conv1 = nn.Conv3d(inner, out, 3, padding=1)
        self.conv2 = nn.Conv3d(out, out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv2(torch.relu(self.conv1(self.pool(x)))))


class _Step(nn.Module):
    """Step of the decoder: upsampling by 2, and a convolution that also reads the skip connection.

    The transposed convolution returns one row, column and slice more than the skip connection, which are cut off.
    """

    def __init__(self, inner: int, up: int, out: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose3d(inner, up, 3, stride=2, bias=False)
        self.conv = nn.Conv3d(up + out, out, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return torch.relu(self.conv(torch.cat([self.up(x)[..., :-1, :-1, :-1], skip], dim=1)))


class BrainUNet(nn.Module):
    """U-Net with 171,465 parameters for one channel and one class, without norm layers.

    The published weights were trained on heads of 128 x 128 x 128 voxels, divided by their maximum. The names of the
    tensors are those of the published file. The class has no `forward`, because `split_brain_unet` connects its layers.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        first, second, third = CHANNELS
        self.enc1 = _Level(in_channels, first, pool=False)
        self.enc2 = _Level(first, second, pool=True)
        self.enc3 = _Level(second, third, pool=True)
        self.dec3 = _Step(third, third, third)
        self.dec2 = _Step(third, second, second)
        self.dec1 = _Step(second, first, first)
        self.head = nn.Conv3d(first, out_channels, 1)


def split_brain_unet(network: BrainUNet) -> tuple[nn.Module, nn.Module]:
    """Return encoder and decoder, which share the modules of the network."""
    encoder = LevelEncoder([network.enc1, network.enc2, network.enc3, nn.MaxPool3d(2)])
    return encoder, SkipDecoder([network.dec3, network.dec2, network.dec1], network.head)

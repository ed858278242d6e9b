"""Encoders and decoders of networks that read volumes, made of the modules of MONAI's networks."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class LevelEncoder(nn.Module):
    """Encoder that applies its levels one after another."""

    def __init__(self, levels: Iterable[nn.Module]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map volumes (B, C, X, Y, Z) to one feature map per level, the finest first."""
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features


class SwinEncoder(nn.Module):
    """Encoder of SwinUNETR: a Swin transformer, and a convolution block for each skip connection."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.transformer = network.swinViT
        self.skips = nn.ModuleList([network.encoder1, network.encoder2, network.encoder3, network.encoder4])
        self.bottom = network.encoder10
        self.normalize = network.normalize

    def forward(self, x: Tensor) -> list[Tensor]:
        """Map volumes (B, C, X, Y, Z) to six feature maps, the finest first."""
        hidden = self.transformer(x, self.normalize)
        skips = [skip(level) for skip, level in zip(self.skips, [x, *hidden[:3]], strict=True)]
        return [*skips, hidden[3], self.bottom(hidden[4])]


class ConcatenatingStep(nn.Module):
    """Upsampling step of MONAI's UNet, which reads the concatenation of skip connection and deeper features."""

    def __init__(self, up: nn.Module) -> None:
        super().__init__()
        self.up = up

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map deeper features and those of the skip connection to the finer resolution."""
        return self.up(torch.cat([skip, x], dim=1))


class AddingStep(nn.Module):
    """Upsampling step of SegResNet, which adds the skip connection before it applies its blocks."""

    def __init__(self, sample: nn.Module, blocks: nn.Module) -> None:
        super().__init__()
        self.sample = sample
        self.blocks = blocks

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Map deeper features and those of the skip connection to the finer resolution."""
        return self.blocks(self.sample(x) + skip)


class SkipDecoder(nn.Module):
    """Decoder that upsamples the deepest features and reads one skip connection per step."""

    def __init__(self, steps: Iterable[nn.Module], output: nn.Module) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.output = output

    def forward(self, features: list[Tensor]) -> Tensor:
        """Map feature maps, the finest first, to logits (B, K, X, Y, Z)."""
        x = features[-1]
        for step, skip in zip(self.steps, reversed(features[:-1]), strict=True):
            x = step(x, skip)
        return self.output(x)


def split_unet(network: Any) -> tuple[nn.Module, nn.Module]:
    """Return encoder and decoder of MONAI's UNet, made of its modules."""
    # Each level is a sequence of a downsampling, a skip connection around the deeper levels, and an upsampling.
    levels, steps, block = [], [], network.model
    while isinstance(block, nn.Sequential) and len(block) == 3 and hasattr(block[1], "submodule"):
        levels.append(block[0])
        steps.append(ConcatenatingStep(block[2]))
        block = block[1].submodule
    return LevelEncoder([*levels, block]), SkipDecoder(reversed(steps), nn.Identity())


def split_dynunet(network: Any) -> tuple[nn.Module, nn.Module]:
    """Return encoder and decoder of MONAI's DynUNet, made of its modules."""
    encoder = LevelEncoder([network.input_block, *network.downsamples, network.bottleneck])
    return encoder, SkipDecoder(network.upsamples, network.output_block)


def split_segresnet(network: Any) -> tuple[nn.Module, nn.Module]:
    """Return encoder and decoder of MONAI's SegResNet, made of its modules."""
    dropout = [network.dropout] if network.dropout_prob is not None else []
    first = nn.Sequential(network.convInit, *dropout, network.down_layers[0])
    steps = map(AddingStep, network.up_samples, network.up_layers)
    return LevelEncoder([first, *network.down_layers[1:]]), SkipDecoder(steps, network.conv_final)


def split_swinunetr(network: Any) -> tuple[nn.Module, nn.Module]:
    """Return encoder and decoder of MONAI's SwinUNETR, made of its modules."""
    steps = [getattr(network, f"decoder{level}") for level in (5, 4, 3, 2, 1)]
    return SwinEncoder(network), SkipDecoder(steps, network.out)

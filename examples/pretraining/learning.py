"""Pretraining of a small backbone on the structure of textures: augmentation, heads, training loop."""

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from medtune.runtime.progress import progress

INPUT, CANVAS = 128, 144  # side of the network's input and of the drawn images, pixels
STD = 0.25  # divisor of the pixels in normalization


def augment(batch: torch.Tensor, generator: torch.Generator, color: float = 1.0) -> torch.Tensor:
    """Crop, rotate, flip and recolor images.

    Each image is changed independently. Channels are mixed, inverted and faded, so only structure distinguishes the
    classes.

    Args:
        batch: (B, 144, 144, 3) uint8.
        generator: random generator.
        color: strength of colors, 0..1. 0: gray images of equal mean and contrast, which are easy to learn from. 1:
            images from gray to random colors.

    Returns:
        (B, 3, 128, 128) float32, normalized.
    """
    count = len(batch)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)

    cropped = torch.empty(count, INPUT, INPUT, 3, dtype=torch.uint8)
    places = torch.randint(0, CANVAS - INPUT + 1, (count, 2), generator=generator).tolist()
    for row, ((y, x), turn) in enumerate(
        zip(places, torch.randint(0, 8, (count,), generator=generator).tolist(), strict=True)
    ):
        piece = batch[row, y : y + INPUT, x : x + INPUT].rot90(turn % 4)
        cropped[row] = piece.flip(0) if turn >= 4 else piece
    images = cropped.permute(0, 3, 1, 2).float() / 255 - 0.5
    gray = images.mean(1, keepdim=True)
    gray = 0.25 * (gray - gray.mean((2, 3), True)) / (gray.std((2, 3), keepdim=True) + 0.02)
    mix = torch.eye(3) * uniform(0.1, 1.0)[:, 0] + 0.4 * torch.randn(count, 3, 3, generator=generator)
    images = torch.einsum("bij,bjhw->bihw", mix, images) + 0.2 * torch.randn(count, 3, 1, 1, generator=generator)
    images = torch.lerp(gray.expand_as(images), images, color * uniform(0, 1.3).clamp(0, 1))
    soft = images + images.roll(1, 2)
    soft = (soft + soft.roll(1, 3)) / 4
    images = torch.lerp(images, soft, uniform(-0.5, 1.0))
    images = images + uniform(0, 0.06) * torch.randn(count, 1, INPUT, INPUT, generator=generator)
    return images.clamp(-0.5, 0.5) / STD


def gabor(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Return random Gabor filters (out, in, k, k) of unit norm, which initialize a patch embedding.

    With white-noise filters, a small ViT needs 50 % more time to learn its first texture.

    Args:
        shape: (out, in, k, k).
        seed: random seed.

    Returns:
        float32 tensor of this shape.
    """
    rng = np.random.default_rng(seed)
    reach = (np.arange(shape[2]) - (shape[2] - 1) / 2) / shape[2] * 16
    y, x = np.meshgrid(reach, reach, indexing="ij")
    filters = np.empty(shape, np.float32)
    for row in range(shape[0]):
        frequency = 2 * np.pi * np.exp(rng.uniform(np.log(1 / 24), np.log(1 / 3.5)))
        angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
        width = np.clip(rng.uniform(0.35, 0.7) * 2 * np.pi / frequency, 1.5, 6)
        v, u = y - rng.uniform(-4, 4), x - rng.uniform(-4, 4)
        wave = np.cos(frequency * (u * np.cos(angle) + v * np.sin(angle)) + phase)
        wave = np.exp(-(u**2 + v**2) / (2 * width**2)) * wave
        color = rng.normal(row % 4 != 0, 0.3 if row % 4 else 1.0, shape[1])
        filters[row] = color[:, None, None] / np.linalg.norm(color) * wave / np.linalg.norm(wave)
    return torch.from_numpy(filters)


class Pretraining(nn.Module):
    """A backbone with linear classifiers of textures on the mean token and, if there is one, on the class token."""

    def __init__(self, backbone: Any, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.prefix = getattr(backbone, "num_prefix_tokens", 0)
        for layer in backbone.modules():
            # timm's initial deviation of 0.02 leaves such a narrow network nearly linear, and learning starts late.
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        if self.prefix:
            backbone.patch_embed.proj.weight.data = gabor(backbone.patch_embed.proj.weight.shape)
        self.heads = nn.ModuleList(nn.Linear(backbone.num_features, classes) for _ in range(1 + bool(self.prefix)))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the logits (B, classes) of the mean token and, if there is one, of the class token."""
        features = self.backbone.forward_features(images)
        if features.ndim == 4:
            return [self.heads[0](features.mean((2, 3)))]
        features_of_heads = [features[:, self.prefix :].mean(1)] + ([features[:, 0]] if self.prefix else [])
        return [head(tokens) for head, tokens in zip(self.heads, features_of_heads, strict=True)]


def train(
    model: Pretraining, images: np.ndarray, labels: np.ndarray, steps: int, batch: int, lr: float, seed: int
) -> None:
    """Train `model` in place with AdamW, a cosine schedule with 5 % warmup, label smoothing and increasing color."""
    generator = torch.Generator().manual_seed(seed)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0}], lr
    )
    model.train()
    with progress("pretrain", steps, "steps") as advance:
        for step in range(steps):
            if step % (len(images) // batch) == 0:
                order = torch.randperm(len(images), generator=generator).numpy()
                place = 0
            rows = np.sort(order[place : place + batch])
            place += batch
            scale = min(1, (step + 1) / (0.05 * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))
            for group in optimizer.param_groups:
                group["lr"] = lr * scale
            target = torch.from_numpy(labels[rows])
            color = min(1.0, max(0.0, 2 * step / steps - 0.4))
            logits = model(augment(torch.from_numpy(images[rows]), generator, color))
            losses = [functional.cross_entropy(of_head, target, label_smoothing=0.1) for of_head in logits]
            loss = torch.stack(losses).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            advance(1, f"loss {loss.item():.3f}")


@torch.inference_mode()
def accuracy(model: Pretraining, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the accuracy of the mean token on center crops without augmentation, 0..1."""
    model.eval()
    edge = (CANVAS - INPUT) // 2
    right = 0
    for start in range(0, len(images), 64):
        rows = slice(start, start + 64)
        batch = torch.from_numpy(images[rows, edge:-edge, edge:-edge]).permute(0, 3, 1, 2).float() / 255
        right += int((model((batch - 0.5) / STD)[0].argmax(1).numpy() == labels[rows]).sum())
    return right / len(images)

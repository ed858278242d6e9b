"""How a small backbone learns textures by structure alone: augmentation, heads, the loop."""

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from medtune.runtime.progress import progress

INPUT, CANVAS = 128, 144
STD = 0.25


def augment(batch: torch.Tensor, generator: torch.Generator, colour: float = 1.0) -> torch.Tensor:
    """(B, 3, 128, 128) normalised, from (B, 144, 144, 3) uint8: cropped, turned, flipped, its colours mixed anew.

    Every image draws its own change. Colours lose their meaning (channels mixed, inverted, paled), so that
    only structure is left to tell the classes apart. `colour` 0 gives grey images of one mean and contrast,
    which are far easier to learn from; 1 gives everything between those and random colours.
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
    grey = images.mean(1, keepdim=True)
    grey = 0.25 * (grey - grey.mean((2, 3), True)) / (grey.std((2, 3), keepdim=True) + 0.02)
    mix = torch.eye(3) * uniform(0.1, 1.0)[:, 0] + 0.4 * torch.randn(count, 3, 3, generator=generator)
    images = torch.einsum("bij,bjhw->bihw", mix, images) + 0.2 * torch.randn(count, 3, 1, 1, generator=generator)
    images = torch.lerp(grey.expand_as(images), images, colour * uniform(0, 1.3).clamp(0, 1))
    soft = images + images.roll(1, 2)
    soft = (soft + soft.roll(1, 3)) / 4
    images = torch.lerp(images, soft, uniform(-0.5, 1.0))
    images = images + uniform(0, 0.06) * torch.randn(count, 1, INPUT, INPUT, generator=generator)
    return images.clamp(-0.5, 0.5) / STD


def gabor(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Random Gabor filters (out, in, k, k), each of unit norm: a start for a patch embedding.

    From white-noise filters a small ViT takes half as long again to learn its first texture.
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
        colour = rng.normal(row % 4 != 0, 0.3 if row % 4 else 1.0, shape[1])
        filters[row] = colour[:, None, None] / np.linalg.norm(colour) * wave / np.linalg.norm(wave)
    return torch.from_numpy(filters)


class Pretraining(nn.Module):
    """A backbone whose mean token, and class token where it has one, must each tell the texture."""

    def __init__(self, backbone: Any, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.prefix = getattr(backbone, "num_prefix_tokens", 0)
        for layer in backbone.modules():
            # timm's small start (0.02) leaves so narrow a network nearly linear, and it learns nothing for long.
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        if self.prefix:
            backbone.patch_embed.proj.weight.data = gabor(backbone.patch_embed.proj.weight.shape)
        self.heads = nn.ModuleList(nn.Linear(backbone.num_features, classes) for _ in range(1 + bool(self.prefix)))

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Logits (B, classes) of the mean token, then of the class token."""
        features = self.backbone.forward_features(images)
        if features.ndim == 4:
            return [self.heads[0](features.mean((2, 3)))]
        read = [features[:, self.prefix :].mean(1)] + ([features[:, 0]] if self.prefix else [])
        return [head(tokens) for head, tokens in zip(self.heads, read, strict=True)]


def train(
    model: Pretraining, pictures: np.ndarray, labels: np.ndarray, steps: int, batch: int, lr: float, seed: int
) -> None:
    """Trains `model` in place: AdamW, one cosine with 5 % warm-up, label smoothing, colours coming in by and by."""
    generator = torch.Generator().manual_seed(seed)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0}], lr
    )
    model.train()
    with progress("pretrain", steps, "steps") as advance:
        for step in range(steps):
            if step % (len(pictures) // batch) == 0:
                order = torch.randperm(len(pictures), generator=generator).numpy()
                place = 0
            rows = np.sort(order[place : place + batch])
            place += batch
            scale = min(1, (step + 1) / (0.05 * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))
            for group in optimizer.param_groups:
                group["lr"] = lr * scale
            target = torch.from_numpy(labels[rows])
            colour = min(1.0, max(0.0, 2 * step / steps - 0.4))
            logits = model(augment(torch.from_numpy(pictures[rows]), generator, colour))
            loss = torch.stack([functional.cross_entropy(each, target, label_smoothing=0.1) for each in logits]).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            advance(1, f"loss {loss.item():.3f}")


@torch.inference_mode()
def accuracy(model: Pretraining, pictures: np.ndarray, labels: np.ndarray) -> float:
    """Share of (centre-cropped, unchanged) pictures whose texture the mean token tells."""
    model.eval()
    edge = (CANVAS - INPUT) // 2
    right = 0
    for start in range(0, len(pictures), 64):
        rows = slice(start, start + 64)
        images = torch.from_numpy(pictures[rows, edge:-edge, edge:-edge]).permute(0, 3, 1, 2).float() / 255
        right += int((model((images - 0.5) / STD)[0].argmax(1).numpy() == labels[rows]).sum())
    return right / len(pictures)

"""Backbone and head as one network, from uint8 pixels to logits."""

from typing import Literal

import torch
from torch import Tensor, nn

from medtune.config import registry
from medtune.config.schema import Params
from medtune.models.backbones import TokenShape, create_backbone, has_class_token, to_tokens, token_shape
from medtune.models.normalization import normalization

FeatureKind = Literal["tokens", "mean", "pooled", "summary", "all_tokens"]


class Classifier(nn.Module):
    """Normalised images to logits.

    Attributes:
        backbone: a timm model without classifier.
        head: maps what it reads of the tokens to logits.
        feature_kind: `tokens` (B, N, C); `mean` (B, 1, C) of the patch tokens; `pooled` (B, 1, C), the class
            token where there is one, else the mean; `summary` (B, 1, 2C), class token and mean one after the other,
            or the mean alone (B, 1, C) if there is no class token; `all_tokens` (B, 1 + N, C), the class token, if
            there is one, before the patch tokens.
    """

    backbone: nn.Module
    head: nn.Module
    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, head: nn.Module, feature_kind: FeatureKind, mean: list[float], std: list[float]
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.feature_kind = feature_kind
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    def preprocess(self, images: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) -> normalised float (B, 3, H, W)."""
        return self.normalize(images.permute(0, 3, 1, 2).float() / 255)

    def normalize(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 -> normalised."""
        return (images - self.mean[:, None, None]).div_(self.std[:, None, None])

    def features(self, images: Tensor) -> Tensor:
        """What the head reads from normalised (B, 3, H, W): (B, N or 1, C), for `summary` (B, 1, C or 2C)."""
        tokens, prefix = to_tokens(self.backbone, images)
        if self.feature_kind == "tokens":
            return tokens
        class_token = has_class_token(self.backbone, prefix)
        if self.feature_kind == "all_tokens":
            return torch.cat([prefix[:, :1], tokens], dim=1) if class_token else tokens
        if self.feature_kind == "pooled" and class_token:
            return prefix[:, :1]
        mean = tokens.mean(1, keepdim=True)
        if self.feature_kind == "summary" and class_token:
            return torch.cat([prefix[:, :1], mean], dim=2)
        return mean

    def forward(self, images: Tensor) -> Tensor:
        """Normalised (B, 3, H, W) -> (B, classes) logits."""
        return self.head(self.features(images))


def mean_head(channels: int, classes: int, norm: bool) -> nn.Module:
    """[LayerNorm and] a linear layer on (B, 1, C)."""
    layers: list[nn.Module] = [nn.Flatten(1)]
    if norm:
        layers.append(nn.LayerNorm(channels))
    return nn.Sequential(*layers, nn.Linear(channels, classes))


def build_head(params: Params, shape: TokenShape, classes: int) -> tuple[nn.Module, FeatureKind]:
    """The head that params name, for a backbone of `shape`, and what it reads."""
    chosen = params.model.head
    plugin = registry.load_plugin("medtune.models.heads", chosen.kind, "model.head.kind")
    kind: FeatureKind = plugin.reads(chosen) if hasattr(plugin, "reads") else plugin.INPUT
    class_tokens = int(shape.class_token)
    if kind == "all_tokens":
        return plugin.build(chosen, shape.tokens, shape.channels, classes, class_tokens), kind
    channels = shape.channels * (1 + class_tokens) if kind == "summary" else shape.channels
    return plugin.build(chosen, shape.tokens, channels, classes), kind


def stored_tokens(kind: FeatureKind, shape: TokenShape) -> int:
    """Rows (of C channels) that the features of one image take."""
    class_tokens = int(shape.class_token)
    return {"tokens": shape.tokens, "all_tokens": shape.tokens + class_tokens, "summary": 1 + class_tokens}.get(kind, 1)


def build(params: Params, classes: int, load_weights: bool = True) -> Classifier:
    """The whole network; what has no weights is initialised from `params.seed`.

    Args:
        params: all params.
        classes: number of classes.
        load_weights: False leaves the backbone random, for a state dict that brings its own.
    """
    torch.manual_seed(params.seed)  # a backbone without weights is seeded too
    backbone = create_backbone(params, load_weights)
    shape = token_shape(backbone, params.data.image_size)
    mean, std = normalization(params, backbone)
    torch.manual_seed(params.seed)
    head, feature_kind = build_head(params, shape, classes)
    return Classifier(backbone, head, feature_kind, mean, std).eval()


def freeze_batchnorm(module: nn.Module) -> None:
    """Puts every BatchNorm of `module` in eval mode: its running statistics stay as they are."""
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.eval()

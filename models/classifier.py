"""Classifier of images: a backbone and a head."""

from typing import Literal

import torch
from torch import Tensor, nn

from medtune.config import registry
from medtune.config.schema import Params
from medtune.models.backbones import TokenShape, create_backbone, has_class_token, to_tokens, token_shape
from medtune.models.network import Network
from medtune.models.normalization import normalization

FeatureKind = Literal["tokens", "mean", "pooled", "summary", "all_tokens"]


class Classifier(Network):
    """Network that maps images to logits.

    `preprocess` converts uint8 pixels to normalized images. `forward` maps normalized images to logits.

    Attributes:
        backbone: a timm model without its classifier.
        head: maps features to logits.
        feature_kind: features that the head reads. `tokens` are the patch tokens (B, N, C). `mean` is the mean patch
            token (B, 1, C). `pooled` is the class token if there is one, otherwise the mean (B, 1, C). `summary` is the
            concatenation of class token and mean (B, 1, 2C), or the mean (B, 1, C) if there is no class token.
            `all_tokens` is the class token, if there is one, before the patch tokens (B, 1 + N, C).
        mean, std: normalization per color channel (3,), for values in 0..1.
    """

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
        """Convert uint8 images (B, H, W, 3) to normalized float images (B, 3, H, W)."""
        return self.normalize(images.permute(0, 3, 1, 2).float() / 255)

    def normalize(self, images: Tensor) -> Tensor:
        """Normalize images (B, 3, H, W) with values in 0..1."""
        return (images - self.mean[:, None, None]).div_(self.std[:, None, None])

    def features(self, images: Tensor) -> Tensor:
        """Compute the features that the head reads.

        Args:
            images: normalized images (B, 3, H, W).

        Returns:
            Features in the shape that `feature_kind` defines.
        """
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
        """Map normalized images (B, 3, H, W) to logits (B, classes)."""
        return self.head(self.features(images))


def mean_head(channels: int, classes: int, norm: bool) -> nn.Module:
    """Create a head for one feature vector per image (B, 1, C): LayerNorm if `norm`, then a linear layer."""
    layers: list[nn.Module] = [nn.Flatten(1)]
    if norm:
        layers.append(nn.LayerNorm(channels))
    return nn.Sequential(*layers, nn.Linear(channels, classes))


def build_head(params: Params, shape: TokenShape, classes: int) -> tuple[nn.Module, FeatureKind]:
    """Build the head that section `model.head` describes.

    Args:
        params: all params.
        shape: token shape of the backbone.
        classes: number of outputs.

    Returns:
        The head and the kind of features that the head reads.
    """
    head = params.model.head
    plugin = registry.load_plugin("medtune.models.heads", head.kind, "model.head.kind")
    kind: FeatureKind = plugin.reads(head) if hasattr(plugin, "reads") else plugin.INPUT
    class_tokens = int(shape.class_token)
    if kind == "all_tokens":
        return plugin.build(head, shape.tokens, shape.channels, classes, class_tokens), kind
    channels = shape.channels * (1 + class_tokens) if kind == "summary" else shape.channels
    return plugin.build(head, shape.tokens, channels, classes), kind


def stored_tokens(kind: FeatureKind, shape: TokenShape) -> int:
    """Return the number of values that are stored as features of one image, divided by C."""
    class_tokens = int(shape.class_token)
    return {"tokens": shape.tokens, "all_tokens": shape.tokens + class_tokens, "summary": 1 + class_tokens}.get(kind, 1)


def build(params: Params, classes: int, load_weights: bool = True) -> Classifier:
    """Build backbone and head. Parts without pretrained weights are initialized from `params.seed`.

    Args:
        params: all params.
        classes: number of classes.
        load_weights: False leaves the backbone randomly initialized, for callers that load a state dict.

    Returns:
        The network in eval mode.

    Raises:
        InputError: the backbone is unknown, or its weights do not fit.
        RunError: the weights could not be downloaded.
    """
    torch.manual_seed(params.seed)  # for a backbone without weights
    backbone = create_backbone(params, load_weights)
    shape = token_shape(backbone, params.data.image_size)
    mean, std = normalization(params, backbone)
    torch.manual_seed(params.seed)
    head, feature_kind = build_head(params, shape, classes)
    return Classifier(backbone, head, feature_kind, mean, std).eval()


def freeze_batchnorm(module: nn.Module) -> None:
    """Put every BatchNorm of `module` in eval mode, which freezes its running statistics."""
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.eval()

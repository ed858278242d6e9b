"""The exported module: shares (B, h, w) from uint8 pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from medtune.config.schema import ExportParams
from medtune.models.classifier import Classifier


class Shares(nn.Module):
    """uint8 (B, H, W, 3) to (B, h, w)."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network.float().eval()

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(self.network.preprocess(images))
        return logits.sigmoid().unflatten(1, (images.shape[1] // 16, images.shape[2] // 16))


def module(network: Classifier, fold: Mapping[str, Any]) -> Shares:
    return Shares(network)


def describe(prepared: Any, fold: Mapping[str, Any], size: int) -> dict[str, Any]:
    return {"output": {"name": "shares", "dtype": "float32", "shape": ["N", size // 16, size // 16]}}


def agreement(
    reference: np.ndarray, found: np.ndarray, target: np.ndarray, document: Mapping[str, Any], tolerance: float
) -> dict[str, Any]:
    return {"within": float((np.abs(found - reference).max(axis=(1, 2)) <= tolerance).mean())}


def rejection_reason(figures: Mapping[str, Any], precision: str, params: ExportParams) -> str | None:
    return None


def losses(figures: Mapping[str, Any]) -> dict[str, float]:
    return {}


def agrees(figures: Mapping[str, Any]) -> float:
    return figures["within"]


def card(document: Mapping[str, Any]) -> dict[str, str]:
    texts = {"purpose": "Estimates how dark each patch is.", "inside": "Normalization and sigmoid",
             "output": "the share of dark pixels per patch", "agreement": "images within tolerance"}  # fmt: skip
    return dict.fromkeys(("decision", "calibration", "limits"), "") | texts

"""Exported module: fractions (B, h, w) from uint8 pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from medtune.config.schema import ExportParams


class Shares(nn.Module):
    """Sigmoid that maps logits (B, h * w) to fractions (B, h, w)."""

    def forward(self, logits: Tensor) -> Tensor:
        side = round(logits.shape[1] ** 0.5)
        return logits.sigmoid().unflatten(1, (side, side))


def output_layer(fold: Mapping[str, Any]) -> Shares:
    return Shares()


def describe(prepared: Any, folds: Any, decision: Mapping[str, Any], size: int) -> dict[str, Any]:
    return {"output": {"name": "shares", "dtype": "float32", "shape": ["N", size // 16, size // 16]}}


def agreement(
    reference: np.ndarray, output: np.ndarray, target: np.ndarray, document: Mapping[str, Any], tolerance: float
) -> dict[str, Any]:
    return {"within": float((np.abs(output - reference).max(axis=(1, 2)) <= tolerance).mean())}


def rejection_reason(parity: Mapping[str, Any], precision: str, params: ExportParams) -> str | None:
    return None


def losses(parity: Mapping[str, Any]) -> dict[str, float]:
    return {}


def agrees(parity: Mapping[str, Any]) -> float:
    return parity["within"]


def card(document: Mapping[str, Any]) -> dict[str, str]:
    texts = {"purpose": "Estimates how dark each patch is.", "inside": "Normalization and sigmoid",
             "output": "the fraction of dark pixels per patch", "agreement": "images within tolerance"}  # fmt: skip
    return dict.fromkeys(("decision", "calibration", "limits"), "") | texts

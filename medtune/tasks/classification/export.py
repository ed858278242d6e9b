"""Export of a classifier: calibrated probabilities, decision and parity limits."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from medtune.config.schema import ExportParams
from medtune.evaluation.metric import compute
from medtune.serving.members import MEMBERS
from medtune.serving.slides.aggregate import ATTENTION, extra_outputs
from medtune.serving.tasks.classification import decide
from medtune.tasks.classification.metrics.balanced_accuracy import METRIC
from medtune.tasks.classification.model_card import card as card
from medtune.tasks.classification.statistics import accumulate

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

# Maximum fraction of images whose most probable class may change. For fp32, every change counts. For fp16, changes of
# toss-ups do not count (see `agreement`).
MAX_CHANGED_FRACTION = {"fp32": 0.0, "fp16": 0.001}
# Stand-in for the fold's entry in result.json, with which `stages/trial_export.py` exports an untrained network.
EXAMPLE_FOLD = {"temperature": 1.0}


class TemperedSoftmax(nn.Module):
    """Softmax with a temperature.

    Attributes:
        temperature: scalar tensor, the divisor of the logits.
    """

    temperature: Tensor

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    def forward(self, logits: Tensor) -> Tensor:
        """Map logits (B, classes) to calibrated probabilities (B, classes); each row sums to 1."""
        return torch.softmax(logits.float() / self.temperature, dim=-1)


class MostProbable(nn.Module):
    """Decision for the most probable class."""

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map probabilities (B, classes) to class indices (B,) int64."""
        return probabilities.argmax(dim=-1)


class AtThreshold(nn.Module):
    """Decision between two classes by a threshold.

    Attributes:
        threshold: scalar tensor, the lowest probability at which the decision is class `positive`.
    """

    threshold: Tensor

    def __init__(self, positive: int, threshold: float) -> None:
        super().__init__()
        self.positive = positive
        self.register_buffer("threshold", torch.tensor(float(threshold)))

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map probabilities (B, 2) to class indices (B,) int64."""
        reached = (probabilities[:, self.positive] >= self.threshold).to(torch.int64)
        return reached if self.positive else 1 - reached


def output_layer(fold: Mapping[str, Any]) -> nn.Module:
    """Build the softmax with the fold's temperature.

    The temperature applies to slides, after their tiles are aggregated. The softmax of tiles therefore has temperature
    1. With attention, the layer returns its input.

    Args:
        fold: entry of the fold in result.json.

    Returns:
        The module.
    """
    if fold.get("aggregation") == ATTENTION:
        return nn.Identity()
    return TemperedSoftmax(1.0 if "aggregation" in fold else fold["temperature"])


def decision_layer(document: Mapping[str, Any]) -> nn.Module | None:
    """Build the decision of bundle.json; None for tiles, because the decision is per slide."""
    if "tiles" in document:
        return None
    decision = document["decision"]
    if decision["kind"] == "argmax":
        return MostProbable()
    return AtThreshold(document["classes"].index(decision["positive"]), decision["threshold"])


def describe(
    prepared: "PreparedDataset", folds: Sequence[Mapping[str, Any]], decision: Mapping[str, Any], size: int
) -> dict[str, Any]:
    """Describe the classes, the positive class, the output, the decision and the tiles of slides for bundle.json."""
    classes, kind = list(prepared.classes), folds[0].get("aggregation")
    output = {"name": "probabilities", "dtype": "float32", "shape": ["N", len(classes)]}
    slides = {}
    if kind is not None:
        output |= {"name": MEMBERS, "shape": ["N", len(folds), len(classes) + extra_outputs(kind)]}
        slides = {"aggregation": kind, "tiles": prepared.info["tiles"]}
    return {
        "classes": classes,
        **({"positive": prepared.positive} if prepared.positive is not None else {}),
        "output": output,
        "decision": dict(decision),
        **slides,
    }


def agreement(
    reference: np.ndarray, output: np.ndarray, target: np.ndarray, document: Mapping[str, Any], tolerance: float
) -> dict[str, Any]:
    """Compare the probabilities of an exported model with those of the trained network.

    Args:
        reference: (n, classes) probabilities of the trained network in eager fp32.
        output: (n, classes) probabilities of the exported model.
        target: (n,) class indices.
        document: content of bundle.json, for the decision rule.
        tolerance: probability, 0..1. Assume that `reference` and `output` have different most probable classes for an
            image. The image is a toss-up if the probabilities of these two classes in `reference` differ by at most
            `tolerance`.

    Returns:
        Parity measurements as JSON values.
    """
    rows, expected, actual = np.arange(len(output)), reference.argmax(1), output.argmax(1)
    changed = expected != actual
    clear = changed & (reference[rows, expected] - reference[rows, actual] > tolerance)
    before, after = (decide(p, document["decision"], document["classes"]) for p in (reference, output))
    return {
        "argmax_agreement": float((~changed).mean()),
        "argmax_changed": int(changed.sum()),
        "argmax_changed_not_toss_up": int(clear.sum()),
        "decision_agreement": float((before == after).mean()),
        "balanced_accuracy": balanced_accuracy(target, after, reference.shape[1]),
        "balanced_accuracy_reference": balanced_accuracy(target, before, reference.shape[1]),
    }


def balanced_accuracy(labels: np.ndarray, predictions: np.ndarray, n_classes: int) -> float:
    """Compute the balanced accuracy of class indices (n,)."""
    stats = accumulate(labels, np.eye(n_classes)[predictions], predictions, np.zeros(len(labels), np.int64))
    return float(compute([METRIC], stats)[METRIC.name][0])


def rejection_reason(parity: Mapping[str, Any], precision: str, params: ExportParams) -> str | None:
    """Return why the model in a precision must not be part of the bundle, or None if it may.

    fp32 must agree on every image. Under fp16, at most one image in a thousand may change its most probable class, not
    counting toss-ups (see `agreement`). Under int8, probabilities may change by hundredths, and only the balanced
    accuracy is limited.

    Args:
        parity: result of `agreement`, and `images`, the number of compared images.
        precision: `fp32`, `fp16` or `int8`.
        params: section `export` of the params.

    Returns:
        The reason, or None.
    """
    if precision == "int8":
        return _drop_reason(parity, "int8_max_metric_drop", params.int8_max_metric_drop)
    changed = parity["argmax_changed" if precision == "fp32" else "argmax_changed_not_toss_up"]
    if changed > MAX_CHANGED_FRACTION[precision] * parity["images"]:
        return f"{changed} of {parity['images']} images change their most probable class"
    return _drop_reason(parity, "max_metric_drop", params.max_metric_drop)


def losses(parity: Mapping[str, Any]) -> dict[str, float]:
    """Return the drop in balanced accuracy relative to the trained network; negative if it rises."""
    return {"balanced_accuracy_drop": parity["balanced_accuracy_reference"] - parity["balanced_accuracy"]}


def _drop_reason(parity: Mapping[str, Any], name: str, allowed: float) -> str | None:
    drop = losses(parity)["balanced_accuracy_drop"]
    return None if drop <= allowed else f"balanced accuracy falls by {drop:.2g}; export.{name} allows {allowed:g}"


def agrees(parity: Mapping[str, Any]) -> float:
    """Return the fraction of images with the same most probable class, for the model card."""
    return float(parity["argmax_agreement"])

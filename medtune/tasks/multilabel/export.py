"""Multilabel export: calibrated probabilities, decision, parity limits and model card."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from medtune.config.schema import ExportParams
from medtune.data.class_selection import list_names
from medtune.data.findings import NO_FINDING
from medtune.evaluation.metric import values
from medtune.serving.tasks.multilabel import decide
from medtune.tasks.multilabel.metrics import METRICS
from medtune.tasks.multilabel.statistics import accumulate

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

# Maximum fraction of decisions (images times findings) that may change, not counting toss-ups.
MAX_CHANGED_FRACTION = {"fp32": 0.0, "fp16": 0.001}
# Fold record for a trial export before training.
EXAMPLE_FOLD: dict[str, Any] = {"scale": [1.0], "offset": [0.0]}
BALANCED_ACCURACY = [metric for metric in METRICS if metric.name == "balanced_accuracy"]


class CalibratedSigmoid(nn.Module):
    """Sigmoid of scaled and shifted logits.

    Attributes:
        scale: (findings,) or (1,) factor of the logits.
        offset: (findings,) or (1,) value that is added after scaling.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, scale: list[float], offset: list[float]) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float32))

    def forward(self, logits: Tensor) -> Tensor:
        """Map logits (B, findings) to calibrated probabilities (B, findings), 0..1."""
        return torch.sigmoid(logits.float() * self.scale + self.offset)


class AtThresholds(nn.Module):
    """Decision per finding by thresholds.

    Attributes:
        thresholds: (findings,) lowest probability of a positive decision.
    """

    thresholds: Tensor

    def __init__(self, thresholds: list[float]) -> None:
        super().__init__()
        self.register_buffer("thresholds", torch.tensor(thresholds, dtype=torch.float32))

    def forward(self, probabilities: Tensor) -> Tensor:
        """Map probabilities (B, findings) to decisions (B, findings) int64, 0 or 1."""
        return (probabilities >= self.thresholds).to(torch.int64)


def output_layer(fold: Mapping[str, Any]) -> nn.Module:
    """Build the calibrated sigmoid of a fold."""
    return CalibratedSigmoid(fold["scale"], fold["offset"])


def decision_layer(document: Mapping[str, Any]) -> nn.Module:
    """Build the decision with the thresholds of bundle.json."""
    return AtThresholds([document["decision"]["thresholds"][name] for name in document["classes"]])


def describe(
    prepared: "PreparedDataset", folds: Sequence[Mapping[str, Any]], decision: Mapping[str, Any], size: int
) -> dict[str, Any]:
    """Describe findings, output and thresholds for bundle.json."""
    findings = list(prepared.classes)
    return {
        "classes": findings,
        "no_finding": prepared.info.get("no_finding", NO_FINDING),
        "output": {"name": "probabilities", "dtype": "float32", "shape": ["N", len(findings)]},
        "decision": dict(decision),
    }


def agreement(
    reference: np.ndarray, output: np.ndarray, target: np.ndarray, document: Mapping[str, Any], tolerance: float
) -> dict[str, Any]:
    """Compare the probabilities of an exported model with those of the trained network.

    Args:
        reference: (n, findings) probabilities of the trained network in eager fp32.
        output: (n, findings) probabilities of the exported model.
        target: (n, findings) 1 if the image shows the finding.
        document: content of bundle.json, for the thresholds.
        tolerance: a decision is a toss-up if its probability in `reference` differs from its threshold by at most this.

    Returns:
        Parity measurements as JSON values.
    """
    decision, findings = document["decision"], document["classes"]
    before, after = (decide(p, decision, findings) for p in (reference, output))
    thresholds = np.array([decision["thresholds"][name] for name in findings])
    changed = before != after
    return {
        "decision_agreement": float((~changed.any(1)).mean()),
        "decisions": changed.size,
        "decisions_changed": int(changed.sum()),
        "decisions_changed_not_toss_up": int((changed & (np.abs(reference - thresholds) > tolerance)).sum()),
        "balanced_accuracy": balanced_accuracy(target, after),
        "balanced_accuracy_reference": balanced_accuracy(target, before),
    }


def balanced_accuracy(labels: np.ndarray, decided: np.ndarray) -> float | None:
    """Compute the macro balanced accuracy of decisions (n, findings); None if no finding varies between the images."""
    stats = accumulate(labels, decided.astype(np.float64), decided, np.zeros(len(labels), np.int64))
    return values(BALANCED_ACCURACY, stats)["balanced_accuracy"]


def rejection_reason(parity: Mapping[str, Any], precision: str, params: ExportParams) -> str | None:
    """Return why the model in a precision must not be part of the bundle, or None if it may.

    fp32 may only change toss-ups. Under fp16, at most one decision in a thousand may change, not counting toss-ups.
    Under int8, probabilities may change by hundredths, and only the balanced accuracy is limited.

    Args:
        parity: result of `agreement`.
        precision: `fp32`, `fp16` or `int8`.
        params: section `export` of the params.

    Returns:
        The reason, or None.
    """
    if precision == "int8":
        return _drop_reason(parity, "int8_max_metric_drop", params.int8_max_metric_drop)
    changed = parity["decisions_changed_not_toss_up"]
    if changed > MAX_CHANGED_FRACTION[precision] * parity["decisions"]:
        return f"{changed} of {parity['decisions']} decisions change"
    return _drop_reason(parity, "max_metric_drop", params.max_metric_drop)


def losses(parity: Mapping[str, Any]) -> dict[str, float]:
    """Return the drop in macro balanced accuracy relative to the trained network; negative if it rises."""
    before, after = parity["balanced_accuracy_reference"], parity["balanced_accuracy"]
    return {"balanced_accuracy_drop": 0.0 if before is None or after is None else before - after}


def _drop_reason(parity: Mapping[str, Any], name: str, allowed: float) -> str | None:
    drop = losses(parity)["balanced_accuracy_drop"]
    return None if drop <= allowed else f"balanced accuracy falls by {drop:.2g}; export.{name} allows {allowed:g}"


def card(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of the model card."""
    side, decision = document["input"]["shape"][1], document["decision"]
    thresholds = [f"`{name}` {value:.4f}" for name, value in decision["thresholds"].items()]
    source = "All thresholds are 0.5."
    if decision["criterion"] != "argmax":
        source = f"They were chosen on the validation patients with the criterion {_criterion(decision['criterion'])}."
    failed = [f"{name}: {reason}" for name, reason in decision["reasons"].items()]
    calibration = "The probabilities are not calibrated."
    if document["params"]["evaluate"]["calibration"] != "none":
        calibration = "Each finding has a scale and an offset of the logits, fitted on the validation images."
    return {
        "purpose": f"Detects these findings in {side} x {side} RGB images: {list_names(document['classes'])}. An image "
        "may show several findings or none.",
        "inside": "Normalization, calibration, sigmoid and the decision",
        "output": "`probabilities`, one per finding in the order of the table below, which do not sum to 1; "
        "`decision`, 1 for each finding that reaches its threshold; and `members`, the probabilities of each network",
        "decision": "Decision: a finding is present if its probability reaches its threshold. Thresholds: "
        f"{list_names(thresholds)}. {source}" + (f" {list_names(failed)}." if failed else ""),
        "agreement": "every decision agrees",
        "calibration": f"Calibration: {calibration} The table contains the Brier score, confidence minus accuracy, and "
        "the calibration slope and intercept on the test images. Metrics are means over the findings. bundle.json "
        "contains the metrics of each finding under `metrics.per_class`.",
        "limits": "- The model detects only the findings above. An image without them is not necessarily normal.\n"
        "- The calibration of the probabilities is valid for the prevalence in these data.",
    }


def _criterion(criterion: str | Mapping[str, float]) -> str:
    if isinstance(criterion, str):
        return criterion.replace("_", " ")
    return ", ".join(f"{name} {value:g}" for name, value in criterion.items())


def agrees(parity: Mapping[str, Any]) -> float:
    """Return the fraction of images on which all decisions agree, for the model card."""
    return float(parity["decision_agreement"])

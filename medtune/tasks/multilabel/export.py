"""Export of several findings: calibrated probabilities from uint8 pixels, and what a precision may change of them."""

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

# Share of the decisions (images times findings) that may change although they were no toss-up.
MAX_CHANGED_FRACTION = {"fp32": 0.0, "fp16": 0.001}
# A fold's record, for an export before anything is trained.
EXAMPLE_FOLD: dict[str, Any] = {"scale": [1.0], "offset": [0.0]}
BALANCED_ACCURACY = [metric for metric in METRICS if metric.name == "balanced_accuracy"]


class CalibratedSigmoid(nn.Module):
    """Logits (B, findings) to calibrated probabilities.

    Attributes:
        scale, offset: (findings,) or (1,), applied to the logits.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, scale: list[float], offset: list[float]) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float32))

    def forward(self, logits: Tensor) -> Tensor:
        """(B, findings) -> (B, findings), each 0..1."""
        return torch.sigmoid(logits.float() * self.scale + self.offset)


class AtThresholds(nn.Module):
    """Probabilities (B, findings) to 1 where a finding reaches its threshold, else 0.

    Attributes:
        thresholds: (findings,).
    """

    thresholds: Tensor

    def __init__(self, thresholds: list[float]) -> None:
        super().__init__()
        self.register_buffer("thresholds", torch.tensor(thresholds, dtype=torch.float32))

    def forward(self, probabilities: Tensor) -> Tensor:
        """(B, findings) -> (B, findings) int64."""
        return (probabilities >= self.thresholds).to(torch.int64)


def output_layer(fold: Mapping[str, Any]) -> nn.Module:
    """The fold's scale, offset and a sigmoid."""
    return CalibratedSigmoid(fold["scale"], fold["offset"])


def decision_layer(document: Mapping[str, Any]) -> nn.Module:
    """The thresholds of bundle.json."""
    return AtThresholds([document["decision"]["thresholds"][name] for name in document["classes"]])


def describe(
    prepared: "PreparedDataset", folds: Sequence[Mapping[str, Any]], decision: Mapping[str, Any], size: int
) -> dict[str, Any]:
    """Findings, output and thresholds."""
    findings = list(prepared.classes)
    return {
        "classes": findings,
        "no_finding": prepared.info.get("no_finding", NO_FINDING),
        "output": {"name": "probabilities", "dtype": "float32", "shape": ["N", len(findings)]},
        "decision": dict(decision),
    }


def agreement(
    reference: np.ndarray, found: np.ndarray, target: np.ndarray, document: Mapping[str, Any], tolerance: float
) -> dict[str, Any]:
    """Compare probabilities (n, findings) as JSON values.

    Args:
        reference: of the trained network, eager fp32.
        found: of the exported model.
        target: (n, findings), 1 where the image shows the finding.
        document: bundle.json, for the thresholds.
        tolerance: a decision whose probability is closer to the threshold than this in `reference` is a toss-up.
    """
    decision, findings = document["decision"], document["classes"]
    before, after = (decide(one, decision, findings) for one in (reference, found))
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
    """Macro balanced accuracy of decisions (n, findings); None where no finding has images of both kinds."""
    stats = accumulate(labels, decided.astype(np.float64), decided, np.zeros(len(labels), np.int64))
    return values(BALANCED_ACCURACY, stats)["balanced_accuracy"]


def rejection_reason(figures: Mapping[str, Any], precision: str, params: ExportParams) -> str | None:
    """Why a precision must not be shipped; None where it may.

    fp32 may only change toss-ups. Under fp16 at most one decision in a thousand may change, not counting toss-ups.
    int8 moves probabilities by hundredths; how far is stated, and only what it does to the balanced accuracy refuses
    it.
    """
    if precision == "int8":
        return _drop_reason(figures, "int8_max_metric_drop", params.int8_max_metric_drop)
    changed = figures["decisions_changed_not_toss_up"]
    if changed > MAX_CHANGED_FRACTION[precision] * figures["decisions"]:
        return f"{changed} of {figures['decisions']} decisions change"
    return _drop_reason(figures, "max_metric_drop", params.max_metric_drop)


def losses(figures: Mapping[str, Any]) -> dict[str, float]:
    """Macro balanced accuracy that is lost against the trained network; negative where it rises."""
    before, after = figures["balanced_accuracy_reference"], figures["balanced_accuracy"]
    return {"balanced_accuracy_drop": 0.0 if before is None or after is None else before - after}


def _drop_reason(figures: Mapping[str, Any], name: str, allowed: float) -> str | None:
    lost = losses(figures)["balanced_accuracy_drop"]
    return None if lost <= allowed else f"balanced accuracy falls by {lost:.2g}; export.{name} allows {allowed:g}"


def card(document: Mapping[str, Any]) -> dict[str, str]:
    """Sentences of the model card."""
    side, decision = document["input"]["shape"][1], document["decision"]
    thresholds = [f"`{name}` {value:.4f}" for name, value in decision["thresholds"].items()]
    chosen = "all 0.5"
    if decision["criterion"] != "argmax":
        chosen = f"chosen on the validation patients, criterion {_criterion(decision['criterion'])}"
    failed = [f"{name}: {reason}" for name, reason in decision["reasons"].items()]
    uncalibrated = document["params"]["evaluate"]["calibration"] == "none"
    fitted = "a scale and an offset per finding, fitted on the validation images"
    return {
        "purpose": f"Tells which of these findings {side} x {side} RGB images show, any number of them or none: "
        f"{list_names(document['classes'])}.",
        "inside": "Normalization, calibration, sigmoid and the decision",
        "output": "`probabilities`, one per finding in the order of the table below, which do not sum to 1; "
        "`decision`, 1 for each finding that reaches its threshold; and `members`, the probabilities of each network",
        "decision": f"Decision: a finding is present from its threshold on: {list_names(thresholds)} ({chosen})."
        + (f" {list_names(failed)}." if failed else ""),
        "agreement": "every decision agrees",
        "calibration": f"Calibration: {'none' if uncalibrated else fitted}; the Brier score, confidence less accuracy, "
        "and the calibration slope and intercept on test images are in the table. Metrics are means over the findings; "
        "those of each finding are in bundle.json, `metrics.per_class`.",
        "limits": "- Only the findings above are looked for: an image without any of them is not therefore normal.\n"
        "- Probabilities are calibrated for the prevalence of these data.",
    }


def _criterion(criterion: str | Mapping[str, float]) -> str:
    if isinstance(criterion, str):
        return criterion.replace("_", " ")
    return ", ".join(f"{name} {value:g}" for name, value in criterion.items())


def agrees(figures: Mapping[str, Any]) -> float:
    """Share of images on which every decision agrees with the network's, for the model card."""
    return figures["decision_agreement"]

"""Export of a classifier: calibrated probabilities, decision, parity limits and model card."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from medtune.config.schema import ExportParams
from medtune.data.class_selection import list_names
from medtune.evaluation.metric import compute
from medtune.evaluation.metric_notes import TEMPERATURE_NOTE
from medtune.serving.members import MEMBERS
from medtune.serving.slides.aggregate import ATTENTION, extra_outputs
from medtune.serving.tasks.classification import decide
from medtune.tasks.classification.metrics.balanced_accuracy import METRIC
from medtune.tasks.classification.statistics import accumulate

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

# Maximum fraction of images that may change their most probable class. For fp32, every change counts. For fp16, changes
# of toss-ups do not count (see `agreement`).
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

    For tiles, the temperature is applied after their aggregation to slides, so the softmax of a tile has none. With
    attention, the layer returns its input.

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
    """Describe classes, positive class, output and decision for bundle.json, and the tiles of slides."""
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
        tolerance: probability, 0..1. An image is a toss-up if `reference` gives its most probable class at most
            `tolerance` more probability than the class that is most probable in `output`.

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
        params: params section export.

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


def card(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of the model card."""
    decision = document["decision"]
    rule = "the most probable class."
    if decision["kind"] == "threshold":
        counts = decision["patients"]
        rule = (
            f"`{decision['positive']}` if its probability is at least {decision['threshold']:.4f}. The threshold was "
            f"chosen on {decision['images']} validation images of {counts['positive']} patients with and "
            f"{counts['negative']} patients without this class. Details: {decision['why']}."
        )
    calibration = "The probabilities are not calibrated."
    if document["params"]["evaluate"]["calibration"] != "none":
        calibration = (
            f"The temperature is {_temperatures(document)}, fitted on the validation images. {TEMPERATURE_NOTE}"
        )
    tiles = document.get("tiles")
    attention = document.get("aggregation") == ATTENTION
    inside = "Normalization, temperature, softmax and the decision"
    if tiles:
        inside = "Normalization, evidence and attention scores" if attention else "Normalization and softmax"
    return {
        "purpose": _purpose(document, attention),
        "inside": inside,
        "output": _output(attention, bool(tiles)),
        "decision": f"Decision: {rule}{_sets_sentence(document)}",
        "agreement": "most probable class agrees",
        "calibration": f"Calibration: {calibration} The table contains the Brier score, confidence minus accuracy, and "
        "the calibration slope and intercept on the test images.",
        "limits": "- Every input is assigned to one of the classes above, even if the image shows none of them.\n"
        "- The calibration of the probabilities is valid for the class proportions of these data.",
    }


def _purpose(document: Mapping[str, Any], attention: bool) -> str:
    side, classes, tiles = document["input"]["shape"][1], list_names(document["classes"]), document.get("tiles")
    if not tiles:
        return f"Classifies {side} x {side} RGB images as {classes}."
    if attention:
        aggregation = (
            "The logits of a slide are the attention-weighted mean of the evidence of its tiles (Ilse, Tomczak and "
            "Welling 2018). The weight of a tile is exp(score) / sum of exp(score) over the tiles of the slide. A "
            "softmax with the temperature yields the probabilities."
        )
    else:
        aggregation = "The probabilities of a slide are the mean over its tiles, calibrated with the temperature."
    return (
        f"Classifies whole-slide images (RGB, for example H&E) as {classes}. The network sees tiles of "
        f"{tiles['size_um']:g} micrometers and {side} x {side} pixels. {aggregation}"
    )


def _temperatures(document: Mapping[str, Any]) -> str:
    values = [member["temperature"] for member in document["members"]]
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if len(values) == 1 else f"{low} to {high}, one per network"


def _output(attention: bool, tiles: bool) -> str:
    if attention:
        return (
            "`members` per tile: for each network the evidence in the order of the classes below, then the attention "
            "score"
        )
    if tiles:
        return "`members` per tile: for each network the probabilities in the order of the classes below"
    return (
        "`probabilities` in the order of the classes below, `decision`, the index of the predicted class, and "
        "`members`, the probabilities of each network. Use `decision`, which may differ from the most probable class"
    )


def _sets_sentence(document: Mapping[str, Any]) -> str:
    if not (sets := document.get("prediction_sets")):
        return ""
    scope = "for each class" if sets["holds_for"] == "each class" else "averaged over all classes"
    limits = ", ".join(f"`{name}` {limit:.4f}" for name, limit in list(sets["min_probability"].items())[:12])
    coverage = document["metrics"].get("prediction_sets", {}).get("coverage")
    measured = "The coverage was not measured on test images."
    if coverage:
        measured = f"The coverage on the test images is {coverage['value']:.3f}."
    return (
        "\n\nPrediction sets: a set contains the classes that the calibration cannot rule out. These are the classes "
        f"with at least the following probabilities: {limits}. For an image of a new patient from the same population, "
        f"the probability that the set contains the true class is at least {100 * sets['coverage']:g} %, {scope}. "
        f"{measured} A prediction is `uncertain` if its set is not exactly the predicted class. The limits are "
        "conformal, with patients as the exchangeable unit. They come from the validation predictions of all folds."
    )


def agrees(parity: Mapping[str, Any]) -> float:
    """Return the fraction of images with the same most probable class, for the model card."""
    return float(parity["argmax_agreement"])

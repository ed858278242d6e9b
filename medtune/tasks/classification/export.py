"""Export of a classifier: calibrated probabilities from uint8 pixels, and what a precision may change of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from medtune.config.schema import ExportParams
from medtune.data.class_selection import list_names
from medtune.evaluation.metric import compute
from medtune.serving.members import MEMBERS
from medtune.serving.slides.aggregate import ATTENTION, extra_outputs
from medtune.serving.tasks.classification import decide
from medtune.tasks.classification.metrics.balanced_accuracy import METRIC
from medtune.tasks.classification.statistics import accumulate

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

# Share of the images that may change their class although they were no toss-up.
MAX_CHANGED_FRACTION = {"fp32": 0.0, "fp16": 0.001}
# A fold's record, for an export before anything is trained.
EXAMPLE_FOLD = {"temperature": 1.0}


class TemperedSoftmax(nn.Module):
    """Logits (B, classes) to calibrated probabilities.

    Attributes:
        temperature: () what logits are divided by.
    """

    temperature: Tensor

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    def forward(self, logits: Tensor) -> Tensor:
        """(B, classes) -> (B, classes), rows sum to 1."""
        return torch.softmax(logits.float() / self.temperature, dim=-1)


class MostProbable(nn.Module):
    """Probabilities (B, classes) to the index of the most probable class."""

    def forward(self, probabilities: Tensor) -> Tensor:
        """(B, classes) -> (B,) int64."""
        return probabilities.argmax(dim=-1)


class AtThreshold(nn.Module):
    """Probabilities (B, 2) to the index of the class that a threshold decides for.

    Attributes:
        threshold: () from it on, the class `positive` is decided for.
    """

    threshold: Tensor

    def __init__(self, positive: int, threshold: float) -> None:
        super().__init__()
        self.positive = positive
        self.register_buffer("threshold", torch.tensor(float(threshold)))

    def forward(self, probabilities: Tensor) -> Tensor:
        """(B, 2) -> (B,) int64."""
        reached = (probabilities[:, self.positive] >= self.threshold).to(torch.int64)
        return reached if self.positive else 1 - reached


def output_layer(fold: Mapping[str, Any]) -> nn.Module:
    """The fold's temperature and a softmax; the temperature of slides comes after their tiles are aggregated."""
    if fold.get("aggregation") == ATTENTION:
        return nn.Identity()
    return TemperedSoftmax(1.0 if "aggregation" in fold else fold["temperature"])


def decision_layer(document: Mapping[str, Any]) -> nn.Module | None:
    """The decision of bundle.json; None for tiles, which are no slides yet."""
    if "tiles" in document:
        return None
    decision = document["decision"]
    if decision["kind"] == "argmax":
        return MostProbable()
    return AtThreshold(document["classes"].index(decision["positive"]), decision["threshold"])


def describe(
    prepared: "PreparedDataset", folds: Sequence[Mapping[str, Any]], decision: Mapping[str, Any], size: int
) -> dict[str, Any]:
    """Classes, the positive one of two, output and decision; of slides also their tiles."""
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
    reference: np.ndarray, found: np.ndarray, target: np.ndarray, document: Mapping[str, Any], tolerance: float
) -> dict[str, Any]:
    """Compare probabilities (n, classes) as JSON values.

    Args:
        reference: of the trained network, eager fp32.
        found: of the exported model.
        target: (n,) class indices.
        document: bundle.json, for the decision rule.
        tolerance: an image whose two classes are closer than this in `reference` is a toss-up.
    """
    rows, was, now = np.arange(len(found)), reference.argmax(1), found.argmax(1)
    clear = (was != now) & (reference[rows, was] - reference[rows, now] > tolerance)
    before, after = (decide(one, document["decision"], document["classes"]) for one in (reference, found))
    return {
        "argmax_agreement": float((was == now).mean()),
        "argmax_changed": int((was != now).sum()),
        "argmax_changed_not_toss_up": int(clear.sum()),
        "decision_agreement": float((before == after).mean()),
        "balanced_accuracy": balanced_accuracy(target, after, reference.shape[1]),
        "balanced_accuracy_reference": balanced_accuracy(target, before, reference.shape[1]),
    }


def balanced_accuracy(labels: np.ndarray, predictions: np.ndarray, n_classes: int) -> float:
    """Balanced accuracy of class indices (n,)."""
    stats = accumulate(labels, np.eye(n_classes)[predictions], predictions, np.zeros(len(labels), np.int64))
    return float(compute([METRIC], stats)[METRIC.name][0])


def rejection_reason(figures: Mapping[str, Any], precision: str, params: ExportParams) -> str | None:
    """Why a precision must not be shipped; None where it may.

    fp32 must agree on every image. Under fp16 at most one image in a thousand may change its class, not
    counting toss-ups: so no image at all where fewer than a thousand are compared. int8 moves probabilities by
    hundredths; how far is stated, and only what it does to the balanced accuracy refuses it.
    """
    if precision == "int8":
        return _drop_reason(figures, "int8_max_metric_drop", params.int8_max_metric_drop)
    changed = figures["argmax_changed" if precision == "fp32" else "argmax_changed_not_toss_up"]
    if changed > MAX_CHANGED_FRACTION[precision] * figures["images"]:
        return f"{changed} of {figures['images']} images change their most probable class"
    return _drop_reason(figures, "max_metric_drop", params.max_metric_drop)


def losses(figures: Mapping[str, Any]) -> dict[str, float]:
    """Balanced accuracy that is lost against the trained network; negative where it rises."""
    return {"balanced_accuracy_drop": figures["balanced_accuracy_reference"] - figures["balanced_accuracy"]}


def _drop_reason(figures: Mapping[str, Any], name: str, allowed: float) -> str | None:
    lost = losses(figures)["balanced_accuracy_drop"]
    return None if lost <= allowed else f"balanced accuracy falls by {lost:.2g}; export.{name} allows {allowed:g}"


def card(document: Mapping[str, Any]) -> dict[str, str]:
    """Sentences of the model card."""
    side, decision = document["input"]["shape"][1], document["decision"]
    rule = "the most probable class."
    if decision["kind"] == "threshold":
        counts = decision["patients"]
        rule = (
            f"`{decision['positive']}` from a probability of {decision['threshold']:.4f} on. Choice on "
            f"{decision['images']} validation images ({counts['negative']} patients without and {counts['positive']} "
            f"with this class): {decision['why']}."
        )
    uncalibrated = document["params"]["evaluate"]["calibration"] == "none"
    fitted = f"temperature {_temperatures(document)}, fitted on the validation images"
    tiles = document.get("tiles")
    attention = document.get("aggregation") == ATTENTION
    purpose = f"Tells {list_names(document['classes'])} apart on {side} x {side} RGB images."
    if tiles:
        purpose = (
            f"Tells {list_names(document['classes'])} apart on whole-slide images (RGB, H&E or the like), by tiles of "
            f"{tiles['size_um']:g} micrometres, {side} x {side} pixels. "
        ) + (
            "A slide's logits are the evidence of its tiles weighted by attention (Ilse, Tomczak and Welling 2018): "
            "exp(score) / sum of exp(score) over its tiles. A softmax with the temperature makes them probabilities."
            if attention
            else "A slide's probabilities are the mean of its tiles', then tempered."
        )
    inside = "Normalisation, temperature, softmax and the decision"
    if tiles:
        inside = "Normalisation, evidence and attention scores" if attention else "Normalisation and softmax"
    return {
        "purpose": purpose,
        "inside": inside,
        "output": _output(attention, bool(tiles)),
        "decision": f"Decision: {rule}{_sets_sentence(document)}",
        "agreement": "most probable class agrees",
        "calibration": f"Calibration: {'none' if uncalibrated else fitted}; the Brier score, "
        "confidence less accuracy, and the calibration slope and intercept on test images are in the table.",
        "limits": "- Every input gets one of the classes above, also an image that shows none of them.\n"
        "- Probabilities are calibrated for the class shares of these data.",
    }


def _temperatures(document: Mapping[str, Any]) -> str:
    values = [member["temperature"] for member in document["members"]]
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if len(values) == 1 else f"{low} to {high}, one per network"


def _output(attention: bool, tiles: bool) -> str:
    if attention:
        return (
            "`members` of a tile: for each network the evidence in the order of the classes below, then the attention "
            "score"
        )
    if tiles:
        return "`members` of a tile: for each network the probabilities in the order of the classes below"
    return (
        "`probabilities` in the order of the classes below, `decision`, the index of the decided class, and `members`, "
        "the probabilities of each network. Read `decision`: the most probable class may be another one"
    )


def _sets_sentence(document: Mapping[str, Any]) -> str:
    if not (sets := document.get("prediction_sets")):
        return ""
    scope = "for each class" if sets["holds_for"] == "each class" else "over all classes together, not for each one"
    limits = ", ".join(f"`{name}` from {limit:.4f}" for name, limit in list(sets["min_probability"].items())[:12])
    measured = document["metrics"].get("prediction_sets", {}).get("coverage")
    observed = f"On the test images: {measured['value']:.3f}." if measured else "It was not measured on test images."
    return (
        f"\n\nPrediction sets: a set holds the classes that the calibration cannot rule out ({limits}). For an image "
        f"of a new patient it contains the label with a probability of at least {100 * sets['coverage']:g} %, {scope}, "
        f"if the patient comes from the same population. {observed} A prediction is `uncertain` if its set is not "
        "exactly the predicted class. The limits are conformal, with patients as the exchangeable unit, and come from "
        "the validation predictions of the networks of all folds."
    )


def agrees(figures: Mapping[str, Any]) -> float:
    """Share of images on which a precision agrees with the network, for the model card."""
    return figures["argmax_agreement"]

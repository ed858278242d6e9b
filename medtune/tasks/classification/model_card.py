"""Texts of a classifier's model card."""

from collections.abc import Mapping
from typing import Any

from medtune.data.class_selection import list_names
from medtune.evaluation.metric_notes import TEMPERATURE_NOTE
from medtune.serving.slides.aggregate import ATTENTION


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
            "The evidence of a tile is its logits. The logits of a slide are the attention-weighted mean of the "
            "evidence of its tiles (Ilse, Tomczak and Welling 2018). The weight of a tile is exp(score) / sum of "
            "exp(score) over the tiles of the slide. A softmax with the temperature yields the probabilities."
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
    """Describe the prediction sets of a bundle; empty without prediction sets."""
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

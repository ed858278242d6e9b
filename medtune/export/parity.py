"""Whether an exported model still says what the trained network said, and what refuses it where it does not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import ExportParams

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
# Batch sizes below the largest see this many images; the largest sees all.
FEW = 32
# Of the images, how many may change their class under fp16 although they were no toss-up.
CHANGED = {"fp32": 0.0, "fp16": 0.001}


def spread(labels: Ints, candidates: Ints, n: int) -> Ints:
    """At most `n` of `candidates` (row numbers), taken from each class in turn, sorted."""
    ranks = np.zeros(len(candidates), np.int64)
    for label in np.unique(labels[candidates]):
        members = labels[candidates] == label
        ranks[members] = np.arange(members.sum())
    return np.sort(candidates[np.argsort(ranks, kind="stable")[:n]])


def measure(
    reference: Floats,
    predict: Callable[[npt.NDArray[np.uint8]], Floats],
    images: npt.NDArray[np.uint8],
    labels: Ints,
    decide: Callable[[Floats], Ints],
    batch_sizes: list[int],
    tolerance: float,
) -> dict[str, Any]:
    """Figures that compare `predict` with `reference` (n, classes), as JSON values.

    Args:
        reference: probabilities of the trained network, eager fp32.
        predict: uint8 (b, H, W, 3) -> (b, classes), the exported model.
        images: (n, H, W, 3) real images.
        labels: (n,) class indices.
        decide: probabilities -> class indices.
        batch_sizes: each is tried; the largest on all images.
        tolerance: an image whose two classes are closer than this in `reference` is a toss-up.
    """
    differences, lost, found = {}, 0, reference
    for size in sorted(set(batch_sizes)):
        n = len(images) if size == max(batch_sizes) else min(len(images), max(FEW, size))
        found = np.concatenate([predict(images[i : min(i + size, n)]) for i in range(0, n, size)])
        lost += int((~np.isfinite(found)).any(1).sum())
        differences[str(size)] = float(np.abs(found - reference[:n]).max())
    rows, was, now = np.arange(len(images)), reference.argmax(1), found.argmax(1)
    clear = (was != now) & (reference[rows, was] - reference[rows, now] > tolerance)
    before, after = decide(reference), decide(found)
    scores = balanced_accuracy(labels, before), balanced_accuracy(labels, after)
    return {
        "images": len(images),
        "max_abs_diff": max(differences.values()) if not lost else None,
        "max_abs_diff_by_batch_size": differences if not lost else None,
        "argmax_agreement": float((was == now).mean()),
        "argmax_changed": int((was != now).sum()),
        "argmax_changed_not_toss_up": int(clear.sum()),
        "decision_agreement": float((before == after).mean()),
        "balanced_accuracy": scores[1],
        "balanced_accuracy_reference": scores[0],
        "nan": lost,
    }


def balanced_accuracy(labels: Ints, predictions: Ints) -> float:
    """Mean recall over the classes that `labels` holds."""
    return float(np.mean([(predictions[labels == k] == k).mean() for k in np.unique(labels)]))


def refusal(figures: dict[str, Any], precision: str, params: ExportParams) -> str | None:
    """Why a precision with these `figures` must not be shipped; None where it may.

    fp32 must agree on every image. Under fp16 at most one image in a thousand may change its class, not
    counting toss-ups: so none at all where fewer than a thousand are compared. int8 moves probabilities by
    hundredths; how far is stated, and only what it does to the balanced accuracy refuses it.
    """
    if figures["nan"]:
        return f"{figures['nan']} images came out NaN"
    if precision == "int8":
        return _falls(figures, "int8_metric_drop", params.int8_metric_drop)
    tolerance = params.fp32_tolerance if precision == "fp32" else params.fp16_tolerance
    if figures["max_abs_diff"] > tolerance:
        return f"probabilities differ by up to {figures['max_abs_diff']:.2g}; export allows {tolerance:g}"
    changed = figures["argmax_changed" if precision == "fp32" else "argmax_changed_not_toss_up"]
    if changed > CHANGED[precision] * figures["images"]:
        return f"{changed} of {figures['images']} images change their most probable class"
    return _falls(figures, "metric_drop", params.metric_drop)


def drop(figures: dict[str, Any]) -> float:
    """Balanced accuracy that is lost against the trained network; negative where it rises."""
    return figures["balanced_accuracy_reference"] - figures["balanced_accuracy"]


def _falls(figures: dict[str, Any], name: str, allowed: float) -> str | None:
    if drop(figures) <= allowed:
        return None
    return f"balanced accuracy falls by {drop(figures):.2g}; export.{name} allows {allowed:g}"

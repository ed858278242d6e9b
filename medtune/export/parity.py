"""Whether an exported model still gives the trained network's outputs, and why it is refused where it does not."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import ExportParams

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
# Batch sizes below the largest see this many images; the largest sees all.
SMALL_N = 32


def stratified_sample(labels: Ints, candidates: Ints, n: int) -> Ints:
    """At most `n` of `candidates` (row numbers), taken from each class in turn, sorted."""
    ranks = np.zeros(len(candidates), np.int64)
    for label in np.unique(labels[candidates]):
        members = labels[candidates] == label
        ranks[members] = np.arange(members.sum())
    return np.sort(candidates[np.argsort(ranks, kind="stable")[:n]])


def whole_slides(slides: Sequence[str], labels: Ints, candidates: Ints, n: int) -> Ints:
    """Tiles of whole slides, sorted: slides of each class in turn, until another would make more than `n` tiles.

    Args:
        slides: the slide of each tile.
        labels: (tiles,) class indices.
        candidates: rows of tiles to choose from.
        n: most tiles, unless the first slide alone has more.
    """
    rows = candidates.tolist()
    counts = Counter(slides[row] for row in rows)
    label_of = {slides[row]: int(labels[row]) for row in rows}
    before: Counter[int] = Counter()  # slides of each class so far
    turns = {}
    for slide in counts:
        turns[slide] = before[label_of[slide]]
        before[label_of[slide]] += 1
    chosen: set[str] = set()
    total = 0
    for slide in sorted(counts, key=turns.__getitem__):
        if chosen and total + counts[slide] > n:
            break
        chosen.add(slide)
        total += counts[slide]
    return np.array(sorted(row for row in rows if slides[row] in chosen), np.int64)


def compare_outputs(
    reference: Floats,
    predict: Callable[[npt.NDArray[np.uint8]], Floats],
    images: npt.NDArray[np.uint8],
    agreement: Callable[[Floats, Floats], dict[str, Any]],
    batch_sizes: list[int],
) -> dict[str, Any]:
    """Compare `predict` with `reference` (n, ...), as JSON values.

    Args:
        reference: outputs of the trained network, eager fp32.
        predict: uint8 (b, H, W, 3) -> (b, ...), the exported model.
        images: (n, H, W, 3) real images.
        agreement: what the task says of (reference, outputs of all images).
        batch_sizes: each is tried; the largest on all images.
    """
    differences, lost, found = {}, 0, reference
    for size in sorted(set(batch_sizes)):
        n = len(images) if size == max(batch_sizes) else min(len(images), max(SMALL_N, size))
        found = np.concatenate([predict(images[i : min(i + size, n)]) for i in range(0, n, size)])
        lost += int((~np.isfinite(found.reshape(n, -1))).any(1).sum())
        differences[str(size)] = float(np.abs(found - reference[:n]).max())
    return {
        "images": len(images),
        "max_abs_diff": max(differences.values()) if not lost else None,
        "max_abs_diff_by_batch_size": differences if not lost else None,
        **agreement(reference, found),
        "nan": lost,
    }


def rejection_reason(
    figures: dict[str, Any],
    precision: str,
    params: ExportParams,
    of_task: Callable[[dict[str, Any], str, ExportParams], str | None],
) -> str | None:
    """Why a precision with these `figures` must not be shipped; None where it may.

    fp32 and fp16 outputs may differ from the network's by their tolerance; the rest is the task's to say.
    """
    if figures["nan"]:
        return f"{figures['nan']} images came out NaN"
    if precision != "int8":
        tolerance = params.fp32_tolerance if precision == "fp32" else params.fp16_tolerance
        if figures["max_abs_diff"] > tolerance:
            return f"outputs differ by up to {figures['max_abs_diff']:.2g}; export allows {tolerance:g}"
    return of_task(figures, precision, params)

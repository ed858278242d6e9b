"""Parity between the exported model and the trained network: selection of images, comparison and tolerances."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.config.schema import ExportParams

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
# The largest batch size is checked on all images, smaller batch sizes on this number of images.
SMALL_N = 32


def stratified_sample(labels: Ints, candidates: Ints, n: int) -> Ints:
    """Return at most `n` of the image indices `candidates`, sorted and balanced over the classes.

    Args:
        labels: class index of every image.
        candidates: indices into `labels`. Earlier ones are preferred.
        n: maximum number of indices.
    """
    ranks = np.zeros(len(candidates), np.int64)
    for label in np.unique(labels[candidates]):
        members = labels[candidates] == label
        ranks[members] = np.arange(members.sum())
    return np.sort(candidates[np.argsort(ranks, kind="stable")[:n]])


def sample_slides(slides: Sequence[str], labels: Ints, candidates: Ints, n: int) -> Ints:
    """Select complete slides, balanced over the classes, with at most `n` tiles in total.

    Args:
        slides: name of the slide of each tile.
        labels: (tiles,) class indices.
        candidates: indices of the tiles to select from.
        n: largest number of tiles, unless the first slide alone has more.

    Returns:
        Sorted indices of the tiles.
    """
    tiles = candidates.tolist()
    counts = Counter(slides[tile] for tile in tiles)
    label_of = {slides[tile]: int(labels[tile]) for tile in tiles}
    slides_per_class: Counter[int] = Counter()
    rank = {}
    for slide in counts:
        rank[slide] = slides_per_class[label_of[slide]]
        slides_per_class[label_of[slide]] += 1
    selected: set[str] = set()
    total = 0
    for slide in sorted(counts, key=rank.__getitem__):
        if selected and total + counts[slide] > n:
            break
        selected.add(slide)
        total += counts[slide]
    return np.array(sorted(tile for tile in tiles if slides[tile] in selected), np.int64)


def compare_outputs(
    reference: Floats,
    predict: Callable[[npt.NDArray[np.uint8]], Floats],
    images: npt.NDArray[np.uint8],
    agreement: Callable[[Floats, Floats], dict[str, Any]],
    batch_sizes: list[int],
    comparable: Callable[[Floats], Floats] = np.asarray,
) -> dict[str, Any]:
    """Compare the outputs of an exported model with those of the trained network.

    Args:
        reference: (n, ...) outputs of the trained network, in eager fp32.
        predict: exported model, from uint8 (b, H, W, 3) to (b, ...).
        images: (n, H, W, 3) real images.
        agreement: function of the task. It returns additional fields, given the reference and the outputs.
        batch_sizes: batch sizes to check.
        comparable: function from outputs (n, ...) to the values to compare (n, ...); by default, the outputs.

    Returns:
        JSON values for the field `parity` of bundle.json. Differences are None if an output is not finite.
    """
    expected = comparable(reference)
    differences, n_nan, outputs = {}, 0, reference
    for size in sorted(set(batch_sizes)):
        n = len(images) if size == max(batch_sizes) else min(len(images), max(SMALL_N, size))
        outputs = np.concatenate([predict(images[i : min(i + size, n)]) for i in range(0, n, size)])
        n_nan += int((~np.isfinite(outputs.reshape(n, -1))).any(1).sum())
        differences[str(size)] = float(np.abs(comparable(outputs) - expected[:n]).max())
    return {
        "images": len(images),
        "max_abs_diff": max(differences.values()) if not n_nan else None,
        "max_abs_diff_by_batch_size": differences if not n_nan else None,
        **agreement(reference, outputs),
        "nan": n_nan,
    }


def rejection_reason(
    metrics: dict[str, Any],
    precision: str,
    params: ExportParams,
    of_task: Callable[[dict[str, Any], str, ExportParams], str | None],
) -> str | None:
    """Decide whether a precision passes the parity check.

    For fp32 and fp16, the outputs must not differ by more than the tolerance of the precision. `of_task` checks
    everything else, for example the predicted classes.

    Args:
        metrics: result of `compare_outputs`.
        precision: fp32, fp16 or int8.
        params: section `export` of the params.
        of_task: check of the task, with the same arguments.

    Returns:
        Reason why the precision must not be shipped; None if it passes.
    """
    if metrics["nan"]:
        return f"the output of {metrics['nan']} images is NaN or infinite"
    if precision != "int8":
        tolerance = params.fp32_tolerance if precision == "fp32" else params.fp16_tolerance
        if metrics["max_abs_diff"] > tolerance:
            return f"outputs differ by up to {metrics['max_abs_diff']:.2g}, export allows {tolerance:g}"
    return of_task(metrics, precision, params)

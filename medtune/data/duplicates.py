"""Exact and near duplicates among the images of a data set."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medtune.runtime.progress import progress

# Images are near duplicates if their perceptual hashes differ in at most this many of 64 bits. The hashes of unrelated
# images differ in about 32 bits. Those of an image and its re-encoded or slightly resized copy differ in 0 to 4 bits.
NEAR_BITS = 4
# Images whose hashes are compared at once.
_BLOCK = 2048
# Examples in report.json.
_SHOWN = 20
MAX_PAIRS = 1_000_000


@dataclass(frozen=True)
class Duplicates:
    """Duplicate images, as indices into the data set.

    Attributes:
        exact: sets of two or more images with equal pixels.
        near: (pairs, 3) int64: first image, second image, number of bits in which their hashes differ (0 to
            NEAR_BITS). Pairs with equal pixels are in `exact` only.
    """

    exact: tuple[tuple[int, ...], ...]
    near: np.ndarray


def find_duplicates(images: np.ndarray, sha256: Sequence[str]) -> Duplicates:
    """Find exact and near duplicates among packed images.

    Args:
        images: (n, H, W, 3) uint8.
        sha256: digest of the pixels of each image.

    Returns:
        The duplicates. The list of near duplicates ends after `MAX_PAIRS` pairs.
    """
    return Duplicates(find_equal(sha256).exact, _near_pairs(_hashes(images), sha256))


def find_equal(sha256: Sequence[str]) -> Duplicates:
    """Find exact duplicates only.

    Args:
        sha256: digest of each image or volume.

    Returns:
        The duplicates, without near duplicates.
    """
    same: dict[str, list[int]] = defaultdict(list)
    for row, digest in enumerate(sha256):
        same[digest].append(row)
    return Duplicates(tuple(tuple(rows) for rows in same.values() if len(rows) > 1), np.empty((0, 3), np.int64))


def crosses_splits(rows: Sequence[int], splits: np.ndarray, test_folds: Sequence[int]) -> bool:
    """Return True if images are in different splits (train, val, test) of a fold.

    Args:
        rows: indices of the images.
        splits: (n, folds) split of each image, for each test fold.
        test_folds: the columns of `splits` to check.

    Returns:
        True if the images are in different splits of at least one fold. Unused images are ignored.
    """
    return any(len(set(splits[list(rows), fold].tolist()) - {"unused"}) > 1 for fold in test_folds)


def duplicate_report(
    duplicates: Duplicates, paths: Sequence[str], labels: Sequence[str], splits: np.ndarray, test_folds: Sequence[int]
) -> dict[str, Any]:
    """Return the entry `duplicates` of report.json.

    Args:
        duplicates: result of `find_duplicates` or `find_equal`.
        paths: path of each image.
        labels: label of each image.
        splits: (n, folds) split of each image, for each test fold.
        test_folds: the columns of `splits` to check.

    Returns:
        Counts and examples. The examples begin with duplicates in different splits.
    """
    exact = sorted(duplicates.exact, key=lambda rows: not crosses_splits(rows, splits, test_folds))
    across = np.zeros(len(duplicates.near), bool)
    for fold in test_folds:
        first, second = splits[duplicates.near[:, 0], fold], splits[duplicates.near[:, 1], fold]
        across |= (first != second) & (first != "unused") & (second != "unused")
    near = duplicates.near[np.lexsort((duplicates.near[:, 2], ~across))] if len(duplicates.near) else duplicates.near
    across = np.sort(across)[::-1]
    return {
        "exact": {
            "sets": len(exact),
            "images": sum(len(rows) for rows in exact),
            "across_splits": sum(crosses_splits(rows, splits, test_folds) for rows in exact),
            "with_different_labels": sum(len({labels[row] for row in rows}) > 1 for rows in exact),
            "first": [
                {"paths": [paths[row] for row in rows], "across_splits": crosses_splits(rows, splits, test_folds)}
                for rows in exact[:_SHOWN]
            ],
        },
        "near": {
            "threshold_bits_of_64": NEAR_BITS,
            "pairs": len(near),
            "complete": len(near) < MAX_PAIRS,
            "across_splits": int(across.sum()),
            "first": [
                {"paths": [paths[a], paths[b]], "bits": int(bits), "across_splits": bool(is_across)}
                for (a, b, bits), is_across in zip(near[:_SHOWN].tolist(), across[:_SHOWN].tolist(), strict=True)
            ],
        },
    }


def _hashes(images: np.ndarray) -> np.ndarray:
    """Return (n,) uint64 perceptual hashes, computed by phash of ImageHash.

    The hash has one bit for each of the 64 lowest frequencies of the 32 x 32 DCT. The bit is 1 if the coefficient is
    above the median.
    """
    import imagehash
    from PIL import Image

    bits = np.empty((len(images), 8), np.uint8)
    with progress("near duplicates: hash", len(images), "images") as advance:
        for row, image in enumerate(images):
            bits[row] = np.packbits(imagehash.phash(Image.fromarray(image)).hash.reshape(-1))
            advance()
    return bits.view(np.uint64).reshape(-1)


def _near_pairs(hashes: np.ndarray, sha256: Sequence[str]) -> np.ndarray:
    digests = np.array([int(digest[:16], 16) for digest in sha256], np.uint64)
    pairs: list[np.ndarray] = []
    total = 0
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start : start + _BLOCK]
        for second_start in range(start, len(hashes), _BLOCK):
            bits = np.bitwise_count(block[:, None] ^ hashes[None, second_start : second_start + _BLOCK])
            first, second = np.nonzero(bits <= NEAR_BITS)
            rows, columns = first + start, second + second_start
            keep = (rows < columns) & (digests[rows] != digests[columns])
            pairs.append(np.column_stack([rows, columns, bits[first, second]])[keep].astype(np.int64))
            total += int(keep.sum())
            if total >= MAX_PAIRS:
                return np.concatenate(pairs)[:MAX_PAIRS]
    return np.concatenate(pairs) if pairs else np.empty((0, 3), np.int64)

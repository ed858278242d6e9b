"""Writing of a prepared set: manifest.csv, targets.npy and dataset.json."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from medtune.config.errors import InputError
from medtune.data.manifest import COLUMNS, INFO_FILE, MANIFEST_FILE, TARGETS, VOLUME_COLUMNS
from medtune.data.sample import Sample
from medtune.data.splits import SplitResult
from medtune.runtime.artifact import write_text


class Packed(Protocol):
    """Result of packing: digest and original size of each sample."""

    @property
    def sha256(self) -> Sequence[str]:
        """Digest of the pixels of each sample, hexadecimal."""

    @property
    def original_sizes(self) -> Sequence[tuple[int, int]]:
        """(width, height) of each original in pixels."""


def _reserved_columns(n_folds: int) -> list[str]:
    """Return the columns of every manifest.csv, including the column `role_<k>` of each test fold k."""
    return [*COLUMNS, *(f"role_{column}" for column in range(n_folds))]


def check_metadata(names: Iterable[str], n_folds: int, table: str, volumes: bool = False) -> None:
    """Reject a column of the source whose name the manifest uses.

    Args:
        names: metadata columns of the source.
        n_folds: number of folds.
        table: setting that names the table or the source, as `key=value`.
        volumes: True if the samples are volumes, whose manifest has `VOLUME_COLUMNS`.

    Raises:
        InputError: a name is empty or used by manifest.csv.
    """
    reserved = [*_reserved_columns(n_folds), *(VOLUME_COLUMNS if volumes else ())]
    if "split" in names:
        raise InputError(
            f"{table}: the column 'split' is not used. Add --set data.split.protocol=column to split by it, or rename "
            "the column"
        )
    if taken := [name for name in names if name in reserved or name.startswith("role_") or not name]:
        raise InputError(
            f"{table}: the column name {taken[0]!r} is reserved for manifest.csv. Rename or remove the column"
        )


def write_manifest(
    folder: Path,
    samples: Sequence[Sample],
    packed: Packed,
    split: SplitResult,
    test_fold: int | str,
    volume_cells: Sequence[tuple[object, ...]] = (),
) -> None:
    """Write manifest.csv.

    Args:
        folder: existing folder.
        samples: the packed samples, in the order of the packed images.
        packed: digest and size of each packed sample.
        split: splits of the samples.
        test_fold: `data.split.test_fold`, a fold or `all`. It determines the column `split`.
        volume_cells: cells of the `VOLUME_COLUMNS` of each volume; empty for images.

    Raises:
        InputError: a column of the source has a reserved name.
    """
    n_folds = split.splits.shape[1]
    split_columns = _reserved_columns(n_folds)[len(COLUMNS) :]
    metadata, volume_columns = list(samples[0].metadata), VOLUME_COLUMNS if volume_cells else ()
    cells = volume_cells or ((),) * len(samples)
    with (folder / MANIFEST_FILE).open("w", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream, lineterminator="\n")
        out.writerow([*COLUMNS, *volume_columns, *metadata, *split_columns])
        rows = zip(
            samples, packed.sha256, packed.original_sizes, cells, split.folds.tolist(), split.splits.tolist(),
            strict=True,
        )  # fmt: skip
        for sample, sha256, (width, height), further, fold, splits in rows:
            split_name = "cv" if test_fold == "all" else splits[int(test_fold)]
            patient_id = sample.path if sample.patient_id is None else sample.patient_id
            out.writerow(
                [sample.path, sample.label, patient_id, fold, split_name, sha256, width, height, *further]
                + [sample.metadata[name] for name in metadata]
                + splits
            )


def write_targets(folder: Path, targets: Iterable[np.ndarray | None], n: int) -> None:
    """Write targets.npy, (n, ...), row by row.

    Args:
        folder: existing folder.
        targets: one target per image. If they are None, no file is written.
        n: number of images.

    Raises:
        InputError: the targets differ in shape or type.
    """
    array: np.ndarray | None = None
    for row, target in enumerate(targets):
        if target is None:
            return
        if array is None:
            array = np.lib.format.open_memmap(folder / TARGETS, "w+", target.dtype, (n, *target.shape))
        if (target.shape, target.dtype) != (array.shape[1:], array.dtype):
            raise InputError(
                f"target {row} is {target.dtype} {target.shape}, but the first target is {array.dtype} "
                f"{array.shape[1:]}. All targets must have the same shape and type"
            )
        array[row] = target


def write_info(folder: Path, info: dict[str, Any]) -> None:
    """Write dataset.json."""
    write_text(folder / INFO_FILE, json.dumps(info, indent=2, ensure_ascii=False) + "\n")

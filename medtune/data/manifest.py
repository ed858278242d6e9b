"""The prepared set as every later stage reads it: manifest.csv, dataset.json and the packed images."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.errors import InputError
from medtune.data.findings import rarest
from medtune.data.metadata import find_metadata_column, metadata_values
from medtune.data.packing import IMAGES_FILE, PackResult
from medtune.data.sample import Sample
from medtune.data.splits import ROLE, SPLITS, SplitResult
from medtune.runtime.artifact import digest, file_sha256, find_artifact, write_text
from medtune.serving.members import REFIT
from medtune.serving.one_line import first_line

COLUMNS = ("path", "label", "group", "fold", "split", "sha256", "width", "height")
MANIFEST_FILE, INFO_FILE, TARGETS = "manifest.csv", "dataset.json", "targets.npy"
SLIDE_COLUMN = "slide_path"


@dataclass(frozen=True)
class PreparedDataset:
    """A prepared set; rows are images, in the manifest's order.

    Attributes:
        folder: data/prepared.
        info: dataset.json.
        classes: class names in index order.
        paths: as in manifest.csv.
        labels: (n,) int64 indices into classes; of several findings the rarest one's, len(classes) where there is none.
        patient_ids: (n,) group names; an image without one is a group of its own, named by its path.
        folds: (n,) int64; -1 where protocol official tests an image never or more than once.
        splits: (n, folds) of train, val, test, external, unused.
        images: (n, H, W, 3) uint8, memory-mapped.
        sha256: of each image's pixels.
        names: label of each image as in manifest.csv: its class, or its findings.
        metadata_cells: the source's own columns (sex, site, scanner) by name, one cell per image as in manifest.csv.
    """

    folder: Path
    info: dict[str, Any]
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: np.ndarray
    patient_ids: np.ndarray
    folds: np.ndarray
    splits: np.ndarray
    images: np.ndarray
    sha256: tuple[str, ...]
    metadata_cells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def metadata(self, name: str, key: str = "evaluate.by") -> tuple[str | None, ...]:
        """Values of a metadata column, one per image; None where the value is missing.

        Args:
            name: of the column, in any case.
            key: the params key that names it, for the message.

        Raises:
            InputError: there is no such column.
        """
        column = find_metadata_column(tuple(self.metadata_cells), name, key)
        return metadata_values(self.metadata_cells[column], self.info.get("allow_values", ()))

    @property
    def positive(self) -> str | None:
        """Positive class of two, the one with index 1; None where there is none."""
        return self.info.get("positive")

    @cached_property
    def pixels_digest(self) -> str:
        """Pixels of the set in their order, without labels, classes or patients: what features depend on."""
        return digest([self.images.shape, self.sha256])

    @cached_property
    def slides(self) -> tuple[str, ...]:
        """The whole-slide image that each image is a tile of; empty where images are no tiles."""
        return self.metadata_cells[SLIDE_COLUMN] if "tiles" in self.info else ()

    @cached_property
    def digest(self) -> str:
        """Content of the set: pixels, paths, labels, groups, classes. The split is not part of it."""
        targets = self.folder / TARGETS
        return digest(
            [self.images.shape, self.sha256, self.paths, self.labels.tolist(), self.patient_ids.tolist(), self.classes]
            + ([file_sha256(targets)] if targets.is_file() else [])
            + ([self.slides] if self.slides else [])
        )

    @cached_property
    def targets(self) -> np.ndarray:
        """(n, ...) what the task predicts: the labels, or targets.npy, memory-mapped."""
        path = self.folder / TARGETS
        return np.lib.format.open_memmap(path, mode="r") if path.is_file() else self.labels

    def has(self, index: int) -> np.ndarray:
        """(n,) bool, which images are of the class or show the finding `index`."""
        return self.targets[:, index] > 0 if self.info.get("label_type") == "multi" else self.labels == index

    def indices(self, test_fold: int) -> dict[str, np.ndarray]:
        """Sorted row numbers of train, val and test in the chain whose test fold is `test_fold`.

        For `REFIT`, every image that is train, val or test in some fold is a training image.
        """
        column = self._column(test_fold)
        return {split: np.flatnonzero(column == split) for split in SPLITS}

    def external_indices(self, test_fold: int) -> np.ndarray:
        """Sorted row numbers of the external test set of a chain: never used for a choice; empty where none is."""
        return np.flatnonzero(self._column(test_fold) == "external")

    def split_digest(self, test_fold: int) -> str:
        """What the chain's split does: which paths are train, validation and test."""
        return digest([self.paths, self._column(test_fold).tolist()])

    def _column(self, test_fold: int) -> np.ndarray:
        if test_fold == REFIT:
            labeled = np.isin(self.splits, SPLITS).any(axis=1) & (self.splits != "external").all(axis=1)
            external = np.where((self.splits == "external").any(axis=1), "external", "unused")
            return np.where(labeled, "train", external)
        if not 0 <= test_fold < self.splits.shape[1]:
            raise InputError(f"fold {test_fold} does not exist: folds are 0 to {self.splits.shape[1] - 1}")
        return self.splits[:, test_fold]


def _own_columns(n_folds: int) -> list[str]:
    return [*COLUMNS, *(f"role_{column}" for column in range(n_folds))]


def check_metadata(names: Iterable[str], n_folds: int) -> None:
    """Refuse a source's column that the manifest has already.

    Args:
        names: the source's own columns.
        n_folds: number of folds.

    Raises:
        InputError: a name is taken or empty.
    """
    ours = _own_columns(n_folds)
    if "split" in names:
        raise InputError(
            "column 'split' of the table: add --set data.split.protocol=column to split by it, or rename it"
        )
    if taken := [name for name in names if name in ours or name.startswith("role_") or not name]:
        shown = ", ".join(map(repr, taken))
        raise InputError(f"column {shown} of the table: manifest.csv has a column of this name. Rename or remove it")


def write_manifest(
    folder: Path, samples: Sequence[Sample], packed: PackResult, split: SplitResult, test_fold: int | str
) -> None:
    """Writes manifest.csv.

    Args:
        folder: where to.
        samples: the kept records, in the pack's order.
        packed: what packing them gave.
        split: of the same records.
        test_fold: the chosen chain, or all.

    Raises:
        InputError: a source column has the name of one of ours.
    """
    n_folds = split.splits.shape[1]
    ours = _own_columns(n_folds)
    extra = list(samples[0].metadata)
    check_metadata(extra, n_folds)
    with (folder / MANIFEST_FILE).open("w", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream, lineterminator="\n")
        out.writerow([*COLUMNS, *extra, *ours[len(COLUMNS) :]])
        rows = zip(
            samples, packed.sha256, packed.original_sizes, split.folds.tolist(), split.splits.tolist(), strict=True
        )
        for sample, sha256, (width, height), fold, splits in rows:
            split_name = "cv" if test_fold == "all" else splits[int(test_fold)]
            patient_id = sample.path if sample.patient_id is None else sample.patient_id
            out.writerow(
                [sample.path, sample.label, patient_id, fold, split_name, sha256, width, height]
                + [sample.metadata[name] for name in extra]
                + splits
            )


def write_targets(folder: Path, targets: Iterable[np.ndarray | None], n: int) -> None:
    """Write targets.npy, (n, ...), one at a time; nothing where the targets are None.

    Raises:
        InputError: they differ in shape or type.
    """
    array: np.ndarray | None = None
    for row, target in enumerate(targets):
        if target is None:
            return
        if array is None:
            array = np.lib.format.open_memmap(folder / TARGETS, "w+", target.dtype, (n, *target.shape))
        if (target.shape, target.dtype) != (array.shape[1:], array.dtype):
            raise InputError(
                f"target {row} is {target.dtype} {target.shape}, the first one {array.dtype} {array.shape[1:]}: "
                "all targets need one shape and type"
            )
        array[row] = target


def write_info(folder: Path, info: dict[str, Any]) -> None:
    """Writes dataset.json."""
    write_text(folder / INFO_FILE, json.dumps(info, indent=2, ensure_ascii=False) + "\n")


def load_prepared(folder: Path) -> PreparedDataset:
    """The prepared set in `folder`, every file verified against its sha256.

    Raises:
        InputError: absent, unfinished or damaged.
    """
    if find_artifact(folder) is None:
        state = "is damaged or unfinished" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {state}: run `medtune data` (with the same --params, --set and --out)")
    info = json.loads((folder / INFO_FILE).read_text(encoding="utf-8"))
    classes = tuple(info["classes"])
    with (folder / MANIFEST_FILE).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    n_folds = sum(name.startswith("role_") for name in rows[0])
    if info.get("label_type") == "multi":
        labels = rarest(np.load(folder / TARGETS))
    else:
        index = {name: number for number, name in enumerate(classes)}
        labels = np.array([index[row["label"]] for row in rows], np.int64)
    return PreparedDataset(
        folder=folder,
        info=info,
        classes=classes,
        paths=tuple(row["path"] for row in rows),
        labels=labels,
        patient_ids=np.array([row["group"] for row in rows]),
        folds=np.array([row["fold"] for row in rows], np.int64),
        splits=np.array([[row[f"role_{fold}"] for fold in range(n_folds)] for row in rows], ROLE),
        images=_open_images(folder / IMAGES_FILE, len(rows)),
        sha256=tuple(row["sha256"] for row in rows),
        names=tuple(row["label"] for row in rows),
        metadata_cells={
            name: tuple(row[name] for row in rows)
            for name in rows[0]
            if name not in COLUMNS and not name.startswith("role_")
        },
    )


def _open_images(path: Path, rows: int) -> np.ndarray:
    try:
        images = np.lib.format.open_memmap(path, mode="r")  # .npy and nothing else; np.load takes more
    except Exception as error:  # its header is read as Python's syntax, and raises what the tokenizer raises
        raise InputError(f"{path} holds no plain array: {first_line(error)}; run `medtune data`") from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or len(images) != rows:
        raise InputError(f"{path} is {images.dtype} {images.shape}; expected uint8 ({rows}, H, W, 3)")
    return images

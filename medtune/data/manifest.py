"""Prepared set of images or volumes, which stage data writes: manifest.csv, dataset.json and the packed samples."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.errors import InputError
from medtune.data.findings import rarest_finding
from medtune.data.metadata import find_metadata_column, metadata_values
from medtune.data.packing import IMAGES_FILE
from medtune.data.split_checks import SPLITS
from medtune.data.split_protocols import SPLIT_DTYPE
from medtune.data.volume_store import INDEX_FILE, VolumeStore
from medtune.runtime.artifact import digest, file_sha256, find_artifact
from medtune.serving.members import REFIT
from medtune.serving.one_line import first_line

# Columns of every manifest.csv. A column `role_<k>` for each test fold k follows, with the split of the sample.
COLUMNS = ("path", "label", "patient", "fold", "split", "sha256", "width", "height")
# Digests of the values and of the mask in the files of a volume, before resampling and normalization.
DIGEST_COLUMNS = ("image_sha256", "mask_sha256")
# Further columns of volumes.
VOLUME_COLUMNS = ("depth", "spacing", "orientation", *DIGEST_COLUMNS)
MANIFEST_FILE, INFO_FILE, TARGETS = "manifest.csv", "dataset.json", "targets.npy"
SLIDE_COLUMN = "slide_path"


@dataclass(frozen=True)
class PreparedDataset:
    """Prepared set with one row per image, in the order of the manifest.

    Attributes:
        folder: folder of the set, data/prepared.
        info: content of dataset.json.
        classes: class names in index order.
        paths: path of each image as in manifest.csv.
        labels: (n,) int64 indices into `classes`. If an image can have several findings, the index of its rarest
            finding, or len(classes) if it has none. For volumes, indices into `info["volumes"]["strata"]`.
        patient_ids: (n,) patients. If the patient of an image is unknown, its path is the patient.
        folds: (n,) int64 fold whose test set contains the image. With published splits, -1 if the image is in no test
            set or in several.
        splits: (n, folds) of train, val, test, external, unused. Column k is the split with test fold k.
        images: (n, H, W, 3) uint8, memory-mapped. If the samples are volumes, the shape is (n, 0, 0, 3), and the data
            are in the property `volumes`.
        sha256: digest of the pixels of each image, or of each prepared volume and its masks.
        names: label of each image as in manifest.csv: its class, or its findings.
        metadata_cells: further columns of the source (sex, site, scanner) by name, one cell per image.
        file_digests: the `DIGEST_COLUMNS` of volumes by name, one digest per volume; empty for images.
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
    file_digests: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def metadata(self, name: str, key: str = "evaluate.by") -> tuple[str | None, ...]:
        """Return the values of a metadata column.

        Args:
            name: name of the column. Case is ignored if no column has exactly this name.
            key: the params key that contains the name, for the message.

        Returns:
            One value per image; None if it is missing.

        Raises:
            InputError: there is no such column, or several columns differ only in case.
        """
        column = find_metadata_column(tuple(self.metadata_cells), name, key)
        return metadata_values(self.metadata_cells[column], self.info.get("allow_values", ()))

    @property
    def positive(self) -> str | None:
        """Positive class of a set with two classes, which has index 1; None if there is none."""
        return self.info.get("positive")

    @property
    def has_volumes(self) -> bool:
        """True if the samples are volumes with masks, False if they are images."""
        return "volumes" in self.info

    @cached_property
    def volumes(self) -> VolumeStore:
        """The prepared volumes. Raises InputError for a damaged file, and ValueError if the samples are images."""
        if not self.has_volumes:
            raise ValueError(f"{self.folder} contains images, not volumes")
        return VolumeStore(self.folder)

    @cached_property
    def pixels_digest(self) -> str:
        """Digest of the images and their order, for the cache key of features. Labels and patients do not affect it."""
        return digest([self.images.shape, self.sha256])

    @cached_property
    def slide_of_tile(self) -> tuple[str, ...]:
        """For each tile, the path of its whole-slide image; empty if the images are not tiles."""
        return self.metadata_cells[SLIDE_COLUMN] if "tiles" in self.info else ()

    @cached_property
    def digest(self) -> str:
        """Digest of the set without its splits: pixels, geometry, paths, labels, patients and classes."""
        targets = self.folder / TARGETS
        return digest(
            [self.images.shape, self.sha256, self.paths, self.labels.tolist(), self.patient_ids.tolist(), self.classes]
            + ([file_sha256(targets)] if targets.is_file() else [])
            + ([self.slide_of_tile] if self.slide_of_tile else [])
            + ([self.info["volumes"], file_sha256(self.folder / INDEX_FILE)] if self.has_volumes else [])
        )

    @cached_property
    def targets(self) -> np.ndarray:
        """(n, ...) targets of the task: for volumes, row indices; for images, targets.npy if it exists, or `labels`."""
        if self.has_volumes:
            return np.arange(len(self.paths))
        path = self.folder / TARGETS
        return np.lib.format.open_memmap(path, mode="r") if path.is_file() else self.labels

    def has(self, index: int) -> np.ndarray:
        """Return (n,) bool, True for samples that have the class, the finding or the label with this index."""
        if self.has_volumes:
            return np.array([entry.voxels[index] > 0 for entry in self.volumes.entries])
        return self.targets[:, index] > 0 if self.info.get("label_type") == "multi" else self.labels == index

    def indices(self, test_fold: int) -> dict[str, np.ndarray]:
        """Return the rows of train, val and test of a fold.

        Args:
            test_fold: test fold, or `REFIT` for the network that is trained on all folds. It is trained on the images
                that are train, val or test in any fold.

        Returns:
            Row indices by split, ascending.

        Raises:
            InputError: there is no such fold.
        """
        column = self._column(test_fold)
        return {split: np.flatnonzero(column == split) for split in SPLITS}

    def external_indices(self, test_fold: int) -> np.ndarray:
        """Return the row indices of a fold's external images, ascending. They are not used for model selection."""
        return np.flatnonzero(self._column(test_fold) == "external")

    def split_digest(self, test_fold: int) -> str:
        """Return a digest of the paths and their splits in a fold."""
        return digest([self.paths, self._column(test_fold).tolist()])

    def _column(self, test_fold: int) -> np.ndarray:
        """Return the (n,) splits of a fold or of `REFIT`."""
        if test_fold == REFIT:
            labeled = np.isin(self.splits, SPLITS).any(axis=1) & (self.splits != "external").all(axis=1)
            external = np.where((self.splits == "external").any(axis=1), "external", "unused")
            return np.where(labeled, "train", external)
        if not 0 <= test_fold < self.splits.shape[1]:
            raise InputError(f"--fold={test_fold}: no such fold. Use a fold from 0 to {self.splits.shape[1] - 1}")
        return self.splits[:, test_fold]


def load_prepared(folder: Path) -> PreparedDataset:
    """Verify the sha256 of every file of a prepared set, and load the set.

    Args:
        folder: folder of the set.

    Returns:
        The prepared set.

    Raises:
        InputError: the set is absent, incomplete or damaged.
    """
    if find_artifact(folder) is None:
        state = "is damaged or incomplete" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {state}: run `medtune data` (with the same --params, --set and --out)")
    info = json.loads((folder / INFO_FILE).read_text(encoding="utf-8"))
    classes, volumes = tuple(info["classes"]), "volumes" in info
    with (folder / MANIFEST_FILE).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    n_folds = sum(name.startswith("role_") for name in rows[0])
    if info.get("label_type") == "multi":
        labels = rarest_finding(np.load(folder / TARGETS))
    else:
        strata = info["volumes"]["strata"] if volumes else classes
        index = {name: number for number, name in enumerate(strata)}
        labels = np.array([index[row["label"]] for row in rows], np.int64)
    return PreparedDataset(
        folder=folder,
        info=info,
        classes=classes,
        paths=tuple(row["path"] for row in rows),
        labels=labels,
        patient_ids=np.array([row["patient"] for row in rows]),
        folds=np.array([row["fold"] for row in rows], np.int64),
        splits=np.array([[row[f"role_{fold}"] for fold in range(n_folds)] for row in rows], SPLIT_DTYPE),
        images=np.zeros((len(rows), 0, 0, 3), np.uint8) if volumes else _open_images(folder / IMAGES_FILE, len(rows)),
        sha256=tuple(row["sha256"] for row in rows),
        names=tuple(row["label"] for row in rows),
        metadata_cells={
            name: tuple(row[name] for row in rows)
            for name in rows[0]
            if name not in (*COLUMNS, *(VOLUME_COLUMNS if volumes else ())) and not name.startswith("role_")
        },
        file_digests={name: tuple(row[name] for row in rows) for name in DIGEST_COLUMNS if volumes and name in rows[0]},
    )


def _open_images(path: Path, rows: int) -> np.ndarray:
    """Map images.npy into memory. Raise InputError unless it has the expected type and shape."""
    try:
        images = np.lib.format.open_memmap(path, mode="r")  # accepts .npy files only, unlike np.load
    except Exception as error:  # numpy parses the header as Python code, so the tokenizer's errors are possible
        raise InputError(f"{path} is not a valid array: {first_line(error)}. Run `medtune data`") from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or len(images) != rows:
        raise InputError(
            f"{path} is {images.dtype} {images.shape}; expected uint8 ({rows}, H, W, 3). Run `medtune data`"
        )
    return images

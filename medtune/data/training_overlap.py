"""Overlap of external data and the training data of an exported model (bundle): equal images and patient names."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.errors import InputError
from medtune.data.manifest import DIGEST_COLUMNS, PreparedDataset, load_prepared
from medtune.data.wording import wording

SEEN_SPLITS = ("train", "val")
_FIRST = 20


@dataclass(frozen=True)
class Overlap:
    """Overlap of external data and the training data of a bundle.

    Attributes:
        known: True if the training data are available. Otherwise, the numbers are 0.
        images: number of external images with the same pixels as a training or validation image.
        tested: number of external images with the same pixels as an image that was used only for tests.
        patients: number of external patients with the name of a training or validation patient.
        first: paths of the first external images that are counted in `images`.
        unit: plural word for the images in warnings.
    """

    known: bool
    images: int = 0
    tested: int = 0
    patients: int = 0
    first: tuple[str, ...] = ()
    unit: str = "images"

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values for metrics.json."""
        if not self.known:
            return {"known": False}
        return {"known": True, "images": self.images, "test_images": self.tested, "patients": self.patients,
                "first": list(self.first)}  # fmt: skip

    def warnings(self) -> list[str]:
        """Return warnings for readers of the metrics, one or two sentences each."""
        warnings = []
        if self.images:
            warnings.append(
                f"Leak: {self.images:,} {self.unit} are identical to training or validation {self.unit} of the bundle "
                f"(first: {self.first[0]}). These metrics do not estimate the performance on new patients."
            )
        if self.patients:
            warnings.append(
                f"{self.patients:,} patients have the name of a training or validation patient of the bundle. If they "
                "are the same persons, these metrics do not estimate the performance on new patients."
            )
        if self.tested:
            warnings.append(f"{self.tested:,} {self.unit} are identical to test {self.unit} of the bundle.")
        if not self.known:
            warnings.append(
                f"The bundle may have been trained on some of these {self.unit} or patients: its training data are not "
                "available. Set --training-data to their folder data/prepared."
            )
        return warnings


def find_training_data(bundle: Path, document: Mapping[str, Any], given: Path | None) -> PreparedDataset | None:
    """Find the prepared set that a bundle was trained on.

    Args:
        bundle: folder of the bundle, such as artifacts/export. The set is then expected in `data/prepared` next to
            `artifacts`.
        document: content of bundle.json.
        given: folder of the prepared set that the user named, or None.

    Returns:
        The prepared set. None if the user named none, and the expected folder does not contain it.

    Raises:
        InputError: the user's folder is not a prepared set, or not that of the bundle.
    """
    digest = document.get("data_digest")
    if given is not None:
        prepared = load_prepared(given)
        if prepared.digest != digest:
            raise InputError(
                f"--training-data={given}: not the data that this bundle was trained on. Use the original folder."
            )
        return prepared
    prepared_folder = bundle.resolve().parent.parent / "data" / "prepared"
    if digest is None or not prepared_folder.is_dir():
        return None
    try:
        prepared = load_prepared(prepared_folder)
    except InputError:
        return None
    return prepared if prepared.digest == digest else None


def find_overlap(external: PreparedDataset, training: PreparedDataset | None, folds: Sequence[int]) -> Overlap:
    """Compare the pixels and patient names of external and training data.

    Volumes are compared by the values in their files, so that a copy with another mask or spacing is found.

    Args:
        external: the external images, prepared like the training images.
        training: the training data of the bundle; None if they are not available.
        folds: test fold of each model of the bundle.

    Returns:
        The overlap.
    """
    unit = wording(external.info).items
    if training is None:
        return Overlap(False, unit=unit)
    column, digests = image_digests(external, training.file_digests)
    trained = training.file_digests.get(column, training.sha256)
    splits = [training.indices(fold) for fold in folds]
    seen_rows = np.unique(np.concatenate([indices[name] for indices in splits for name in SEEN_SPLITS]))
    tested_rows = np.unique(np.concatenate([indices["test"] for indices in splits]))
    seen = {trained[row] for row in seen_rows.tolist()}
    tested = {trained[row] for row in tested_rows.tolist()} - seen
    seen_paths = [path for path, sha in zip(external.paths, digests, strict=True) if sha in seen]
    patients: set[str] = set()
    if external.info["patients_known"] and training.info["patients_known"]:
        patients = set(external.patient_ids.tolist()) & set(training.patient_ids[seen_rows].tolist())
    n_tested = sum(sha in tested for sha in digests)
    return Overlap(True, len(seen_paths), n_tested, len(patients), tuple(seen_paths[:_FIRST]), unit)


def image_digests(prepared: PreparedDataset, columns: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """Return the digests by which images are compared with those of another data set.

    Args:
        prepared: the prepared set.
        columns: columns of the other data set with digests of files (`PreparedDataset.file_digests`).

    Returns:
        Name of the column, and one digest per image. The digest is that of the values in the files if both data sets
        have it. Otherwise it is `sha256`, which also depends on the preparation and the mask.
    """
    column = DIGEST_COLUMNS[0]
    if column in prepared.file_digests and column in columns:
        return column, prepared.file_digests[column]
    return "sha256", prepared.sha256

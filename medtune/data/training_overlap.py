"""External images and patients that a bundle has seen, as far as its training data are there to be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.errors import InputError
from medtune.data.manifest import PreparedDataset, load_prepared

SEEN_SPLITS = ("train", "val")
_FIRST = 20


@dataclass(frozen=True)
class Overlap:
    """What external data and a bundle's training data have in common.

    Attributes:
        known: the training data are there; without them nothing else is known.
        images: external images that are pixel for pixel a training or validation image.
        tested: external images that are pixel for pixel one of the bundle's own test images.
        patients: external patients with the name of a training or validation patient.
        first: paths of the first of `images`.
    """

    known: bool
    images: int = 0
    tested: int = 0
    patients: int = 0
    first: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """JSON values for metrics.json."""
        if not self.known:
            return {"known": False}
        return {"known": True, "images": self.images, "test_images": self.tested, "patients": self.patients,
                "first": list(self.first)}  # fmt: skip

    def warnings(self) -> list[str]:
        """What a reader of the metrics must know, one sentence each."""
        found = []
        if self.images:
            example = f"{self.first[0]} first"
            found.append(
                f"Leak: {self.images:,} images are identical to training or validation images of the bundle "
                f"({example}): these figures are no estimate for new patients."
            )
        if self.patients:
            found.append(
                f"{self.patients:,} patients have the name of a training or validation patient of the bundle: if they "
                "are the same persons, these figures are no estimate for new patients."
            )
        if self.tested:
            found.append(f"{self.tested:,} images are identical to test images of the bundle's own evaluation.")
        if not self.known:
            found.append(
                "It is not known whether the bundle was trained on some of these images or patients: its training "
                "data are not here. Name their folder data/prepared with --training-data."
            )
        return found


def find_training_data(bundle: Path, document: Mapping[str, Any], given: Path | None) -> PreparedDataset | None:
    """The prepared set that a bundle was trained on; None if it is not there.

    Args:
        bundle: folder of the bundle; in a project, `data/prepared` is beside its `artifacts`.
        document: bundle.json.
        given: folder that the user names.

    Raises:
        InputError: the user's folder is no prepared set, or another one.
    """
    digest = document.get("data_digest")
    if given is not None:
        prepared = load_prepared(given)
        if prepared.digest != digest:
            raise InputError(
                f"--training-data={given}: not the data that this bundle was trained on. Name their folder."
            )
        return prepared
    beside = bundle.resolve().parent.parent / "data" / "prepared"
    if digest is None or not beside.is_dir():
        return None
    try:
        prepared = load_prepared(beside)
    except InputError:
        return None
    return prepared if prepared.digest == digest else None


def find_overlap(external: PreparedDataset, training: PreparedDataset | None, folds: Sequence[int]) -> Overlap:
    """Compare pixels and patient names.

    Args:
        external: the external images, packed as the training images were.
        training: the bundle's training data; None if they are not there.
        folds: test folds of the bundle's networks.
    """
    if training is None:
        return Overlap(False)
    splits = [training.indices(fold) for fold in folds]
    seen_rows = np.unique(np.concatenate([own[name] for own in splits for name in SEEN_SPLITS]))
    tested_rows = np.unique(np.concatenate([own["test"] for own in splits]))
    seen = {training.sha256[row] for row in seen_rows.tolist()}
    tested = {training.sha256[row] for row in tested_rows.tolist()} - seen
    same = [path for path, sha in zip(external.paths, external.sha256, strict=True) if sha in seen]
    patients: set[str] = set()
    if external.info["groups_known"] and training.info["groups_known"]:
        patients = set(external.patient_ids.tolist()) & set(training.patient_ids[seen_rows].tolist())
    return Overlap(True, len(same), sum(sha in tested for sha in external.sha256), len(patients), tuple(same[:_FIRST]))

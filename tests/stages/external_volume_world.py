"""Tiny bundle for volumes, and external volumes in the layouts of the sources."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np

from medtune.serving.manifest import MANIFEST_FILE, dump_manifest, read_manifest
from tests.serving.volumes import tiny_volume_bundle as tiny

SHAPE = (16, 16, 16)
NAMES = ("P0_a", "P0_b", "P1_a", "P2_a")
LABELS = {"background": 0, "organ": 1, "lesion": 2}
PATIENTS = ["--set", r"data.patient_pattern=(P\d)_"]


def case(number: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the values, the mask and the spacing along z of a volume. The last one differs from the training."""
    values = tiny.draw(SHAPE, number)
    mask = np.roll(tiny.expected_labels(values), number, axis=0)
    return values, mask, 6.0 if number == len(NAMES) - 1 else 2.0


def save(path: Path, values: np.ndarray, spacing: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.diag([1.0, 1.0, spacing, 1.0])), path)


def write_nnunet(root: Path, labels: dict[str, int] | None = None, channels: tuple[str, ...] = ("CT",)) -> Path:
    """Write the layout of nnU-Net. The numbers of the masks are those of `labels`."""
    labels = labels or LABELS
    numbers = np.array([0, *list(labels.values())[1:], 0], np.uint8)
    for number, name in enumerate(NAMES):
        values, mask, spacing = case(number)
        for channel in range(len(channels)):
            save(root / "imagesTr" / f"{name}_{channel:04d}.nii.gz", values, spacing)
        save(root / "labelsTr" / f"{name}.nii.gz", numbers[mask], spacing)
    content = {"channel_names": dict(enumerate(channels)), "labels": labels, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def write_decathlon(root: Path) -> Path:
    """Write the layout of the Decathlon, with the numbers of the labels in reverse."""
    entries = []
    for number, name in enumerate(NAMES):
        values, mask, spacing = case(number)
        save(root / "imagesTr" / f"{name}.nii.gz", values, spacing)
        save(root / "labelsTr" / f"{name}.nii.gz", np.array([0, 2, 1], np.uint8)[mask], spacing)
        entries.append({"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"})
    labels = {"0": "background", "1": "Lesion", "2": "organ"}
    content = {"modality": {"0": "ct"}, "labels": labels, "training": entries}
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def write_folders(root: Path) -> Path:
    """Write two folders with equal names and a table of them, volumes.csv."""
    rows = [("path", "mask", "patient", "site")]
    for number, name in enumerate(NAMES):
        values, mask, spacing = case(number)
        save(root / "images" / f"{name}.nii.gz", values, spacing)
        save(root / "masks" / f"{name}.nii.gz", mask, spacing)
        rows.append((f"images/{name}.nii.gz", f"masks/{name}.nii.gz", name[:2], "north"))
    with (root / "volumes.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return root


def change_bundle(folder: Path, **entries: object) -> None:
    """Replace entries of bundle.json."""
    document = {**read_manifest(folder), **entries}
    document.pop("sha256", None)
    (folder / MANIFEST_FILE).write_text(dump_manifest(document), encoding="utf-8")

"""What a folder of images is: its layout, classes, patients and image sizes. Reads names, tables and image headers."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from medtune.cli.detected import DetectedData
from medtune.cli.patients import suggest
from medtune.data.listing import find_files
from medtune.data.npz import array_names
from medtune.data.sources import breakhis, medmnist

SPLIT_FOLDERS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
# Columns that the source `folder` reads, and other common names for them.
COLUMNS = {
    "path": {"image", "image_path", "file", "filename", "file_name", "filepath", "img"},
    "label": {"class", "diagnosis", "target", "dx", "y"},
    "group": {"patient", "patient_id", "patientid", "case", "case_id", "subject", "subject_id", "slide"},
}
HEADERS_READ = 50


def detect(root: Path) -> DetectedData:
    """Detect what is in `root`.

    Args:
        root: a folder, or an .npz file of MedMNIST.

    Raises:
        InputError: a link or a folder that cannot be read.
    """
    if archives := _npz_files(root):
        return _medmnist(archives)
    images = find_files(root)
    detected = DetectedData(findings=[("images", f"{len(images):,} in {root}")])
    if any(breakhis.image_name(path) for path in images):
        _breakhis(images, detected)
        return detected
    tables = [path for path in sorted(root.glob("*.csv")) if _columns(path)]
    _by_table(tables[0], images, detected) if tables else _by_folders(images, detected)
    _size(root, images, detected)
    return detected


def _npz_files(root: Path) -> list[Path]:
    files = [root] if root.suffix == ".npz" else sorted(root.glob("*.npz")) if root.is_dir() else []
    return [file for file in files if "train_images" in array_names(file)]


def _medmnist(files: list[Path]) -> DetectedData:
    names = {file: next((name for name in medmnist.CLASSES if file.stem.startswith(name)), None) for file in files}
    detected = DetectedData(findings=[("MedMNIST", ", ".join(file.name for file in files))])
    file, subset = next(((file, name) for file, name in names.items() if name), (files[0], None))
    if subset is None:
        detected.warnings.append(
            f"{file.name}: no MedMNIST set begins with this name. Set data.subset to the right one"
        )
    published = {f"{part}_images" for part in medmnist.SPLITS} <= array_names(file)
    size = re.search(r"_(64|128|224)$", file.stem)
    detected.settings = {
        "data.source": "medmnist",
        **({"data.subset": subset} if subset else {}),
        "data.size": int(size[1]) if size else 28,
        **_network_input(128 if size and int(size[1]) > 64 else 64),
        **(
            {"data.split.protocol": "official", "data.split.test_fold": 0}
            if published
            else {"data.split.protocol": "image"}
        ),
    }
    detected.findings.append(
        (
            "patients",
            "MedMNIST has no patient ids: "
            + ("the published split is used" if published else "the images are split, which favors the scores"),
        )
    )
    return detected


def _breakhis(images: list[str], detected: DetectedData) -> None:
    matches = [match for path in images if (match := breakhis.image_name(path))]
    magnifications = Counter(int(match["magnification"]) for match in matches)
    kinds = {match["kind"] for match in matches}
    detected.settings = {
        "data.source": "breakhis",
        "data.labels": "binary" if len(kinds) == 2 else "malignant4",
        "data.magnification": magnifications.most_common(1)[0][0],
    }
    detected.findings += [
        (
            "BreakHis",
            f"{len(matches):,} images, " + ", ".join(f"{n:,} at {m}X" for m, n in sorted(magnifications.items())),
        ),
        ("patients", f"{len({match['case'] for match in matches}):,}, from the file names"),
    ]
    if len(matches) < len(images):
        detected.warnings.append(f"{len(images) - len(matches):,} images have other names and are not used")


def _by_table(table: Path, images: list[str], detected: DetectedData) -> None:
    columns = _columns(table)
    with table.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    detected.settings = {"data.source": "folder", "data.csv": table.name}
    detected.findings.append(("table", f"{table.name}: {len(rows):,} rows, columns {', '.join(columns)}"))
    for wanted, others in COLUMNS.items():
        similar = [column for column in columns if column.lower() in others]
        if wanted not in columns and similar:
            detected.warnings.append(f"{table.name}: rename the column {similar[0]} to {wanted}")
    if "label" in columns:
        detected.findings.append(("classes", _class_counts(row["label"] for row in rows)))
    if "group" in columns:
        patients = len({row["group"] for row in rows})
        detected.findings.append(("patients", f"{patients:,}, in the column group"))
        _folds(patients, detected)
    else:
        suggest([row["path"] for row in rows] if "path" in columns else images, detected)


def _by_folders(images: list[str], detected: DetectedData) -> None:
    inside = [PurePosixPath(path).parts for path in images]
    names = {parts[0] for parts in inside if len(parts) > 1}
    detected.settings = {"data.source": "folder"}
    if splits := sorted(name for name in names if name.lower() in SPLIT_FOLDERS):
        deeper = sorted({parts[1] for parts in inside if len(parts) > 2})
        detected.settings["data.csv"] = "labels.csv"
        detected.warnings.append(
            f"{', '.join(f'{name}/' for name in splits)} are splits, not classes"
            + (f"; inside them: {', '.join(deeper[:6])}" if deeper else "")
            + ". Write labels.csv with the columns path,label,group; the folders' own split is not used"
        )
    elif not names:
        detected.settings["data.csv"] = "labels.csv"
        detected.warnings.append("no class folders and no table. Write labels.csv with the columns path,label,group")
    else:
        detected.findings.append(
            ("classes", f"one folder per class: {_class_counts(p[0] for p in inside if len(p) > 1)}")
        )
        if len(names) == 1:
            detected.warnings.append("only one class folder: at least two classes are needed")
        if loose := sum(len(parts) == 1 for parts in inside):
            detected.warnings.append(f"{loose:,} images are in no class folder. Move them into one")
    suggest(images, detected)


def _size(root: Path, images: list[str], detected: DetectedData) -> None:
    """Sizes from the headers of some images; a small image size where all are small."""
    from PIL import Image

    sizes: Counter[tuple[int, int]] = Counter()
    for path in images[:: max(1, len(images) // HEADERS_READ)]:
        try:
            with Image.open(root / path) as image:
                sizes[image.size] += 1
        except (OSError, Image.DecompressionBombError):
            detected.warnings.append(f"{path} cannot be read as an image. `medtune data` names every such file")
    if sizes:
        shown = ", ".join(f"{width}x{height}" for (width, height), _ in sizes.most_common(3))
        detected.findings.append(("image size", f"{shown} pixels ({sum(sizes.values())} images read)"))
        side = int(np.median([min(size) for size in sizes.elements()]))
        if side < 128:
            detected.settings |= _network_input(max(32, side // 16 * 16))


def _network_input(side: int) -> dict[str, Any]:
    """Settings for images of `side` pixels with the shipped network."""
    return {"data.image_size": side, "model.backbone_args": {"img_size": side}}


def _folds(patients: int, detected: DetectedData) -> None:
    if patients < 5:
        detected.settings["data.split.folds"] = 3
    if patients < 3:
        detected.warnings.append(f"{patients} patients cannot be split into 3 folds")


def _columns(table: Path) -> list[str]:
    """Column names of a table that has a path or a label under some name; empty for any other file."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            columns = next(csv.reader(stream), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return []
    known = {"path", "label", *COLUMNS["path"], *COLUMNS["label"]}
    return columns if known & {column.lower() for column in columns} else []


def _class_counts(labels: "Iterator[str]") -> str:
    counts = sorted(Counter(labels).items())
    shown = ", ".join(f"{name} {count:,}" for name, count in counts[:8])
    return f"{shown}, ... ({len(counts)} classes)" if len(counts) > 8 else shown

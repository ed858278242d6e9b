"""Detection of the properties of a data set in `medtune init`: layout, classes, patients and image sizes.

Detection reads file names, tables and image headers, but no pixels of images with classes.
"""

import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from medtune.cli import detect_masks, detect_slides, detect_table, detect_volumes, image_headers
from medtune.cli.detect_table import class_counts
from medtune.cli.detected import DetectedData
from medtune.cli.patients import suggest
from medtune.config.errors import InputError
from medtune.data import class_folders
from medtune.data.listing import find_files
from medtune.data.npz import array_names
from medtune.data.sources import breakhis, medmnist
from medtune.serving.decode import SUFFIXES
from medtune.serving.folder_scan import printable

HEADERS_READ = 50  # approximate number of images whose header is read


def detect(root: Path, table_name: str | None = None) -> DetectedData:
    """Detect the layout of a data set and suggest settings.

    Args:
        root: folder of images or volumes, or an .npz file of MedMNIST.
        table_name: file name of the table in `root` that describes the images or volumes. None to search for a table.

    Returns:
        Settings, findings and warnings.

    Raises:
        InputError: a link or folder is not readable, `table_name` is not a table, or volumes have no masks.
    """
    if not table_name and (archives := _npz_files(root)):
        return _medmnist(archives)
    if masks := detect_masks.detect_masks(root, table_name):
        return masks
    if volumes := detect_volumes.detect_volumes(root, table_name):
        return volumes
    slides = detect_slides.find_slides(root)
    files = slides or find_files(root)
    images = [path for path in files if printable(path) == path]
    detected = DetectedData(findings=[("slides" if slides else "images", f"{len(images):,} in {root}")])
    if bad := [printable(path) for path in files if printable(path) != path]:
        detected.warnings.append(f"{len(bad):,} images have names that are not valid UTF-8: {bad[0]}. Rename them")
    if not slides and not table_name and any(breakhis.image_name(path) for path in images):
        _breakhis(images, detected)
        return detected
    table = detect_table.read_named(root / table_name) if table_name else detect_table.find_table(root, detected)
    detect_table.by_table(table, root, images, detected) if table else _by_folders(root, images, detected)
    if slides:
        detect_slides.describe_slides(root, slides, detected)
    else:
        _size(root, images, detected)
    return detected


def _npz_files(root: Path) -> list[Path]:
    """Return the .npz files of MedMNIST: `root` itself, or files in `root`."""
    files = [root] if root.suffix == ".npz" else sorted(root.glob("*.npz")) if root.is_dir() else []
    return [file for file in files if "train_images" in array_names(file)]


def _medmnist(files: list[Path]) -> DetectedData:
    """Return the settings for files of MedMNIST. The first file with a known name is used."""
    names = {file: next((name for name in medmnist.CLASSES if file.stem.startswith(name)), None) for file in files}
    detected = DetectedData(findings=[("MedMNIST", ", ".join(file.name for file in files))])
    file, subset = next(((file, name) for file, name in names.items() if name), (files[0], None))
    if subset is None:
        detected.warnings.append(f"{file.name}: the name matches no MedMNIST data set. Set data.subset")
    published = {f"{part}_images" for part in medmnist.SPLITS} <= array_names(file)
    size = re.search(r"_(64|128|224)$", file.stem)
    detected.settings = {
        "data.source": "medmnist",
        **({"data.subset": subset} if subset else {}),
        **({"task.kind": "multilabel"} if subset in medmnist.FINDINGS else {}),
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
            + ("the published split is used" if published else "the split is by image, which inflates scores"),
        )
    )
    return detected


def _breakhis(images: list[str], detected: DetectedData) -> None:
    """Set the settings for images with names of BreakHis."""
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
        detected.warnings.append(
            f"{len(images) - len(matches):,} images are not used, because their names are not of BreakHis"
        )


def _by_folders(root: Path, images: list[str], detected: DetectedData) -> None:
    """Set the settings for class folders, or for a folder without classes, and suggest patients."""
    image_parts = [PurePosixPath(path).parts for path in images]
    names = {parts[0] for parts in image_parts if len(parts) > 1}
    broken = detected.settings.pop("data.csv", None)  # the name of a table that could not be read
    detected.settings = {"data.source": "folder"}
    if class_folders.split_folders(images):
        _by_splits(root, detected, images)
    elif inner := class_folders.inner_folder(images):
        detected.warnings.append(f"{inner}/ contains the images, in split folders. Use --data {root / inner}")
    elif not names and broken:
        detected.settings["data.csv"] = broken
    elif not names:
        detected.settings["data.csv"] = "labels.csv"
        detected.warnings.append("no class folders and no table. Create labels.csv with the columns path,label,patient")
    else:
        detected.findings.append(
            ("classes", f"one folder per class: {class_counts(p[0] for p in image_parts if len(p) > 1)}")
        )
        detected.classes = tuple(sorted(names))
        if len(names) == 1:
            detected.warnings.append("only one class folder found. At least two classes are required")
        if loose := sum(len(parts) == 1 for parts in image_parts):
            detected.warnings.append(f"{loose:,} images are outside of class folders. Move them into class folders")
    if patients := image_headers.dicom_patients(root / path for path in images):
        detected.findings.append(("patients", f"{patients:,}, from PatientID in the DICOM files"))
    else:
        suggest(images, detected)


def _by_splits(root: Path, detected: DetectedData, images: list[str]) -> None:
    """Add settings and findings for the folders train, val and test, each of which has one folder per class."""
    detected.settings["data.split.protocol"] = "folders"
    try:
        suffixes = tuple({PurePosixPath(path).suffix.lower() for path in images} - {""})
        listed = class_folders.by_split(root, (*SUFFIXES, *suffixes))
    except InputError as error:
        detected.warnings.append(str(error))
        return
    splits = Counter(image.split or "" for image in listed)
    detected.classes = tuple(sorted({image.label for image in listed}))
    detected.findings += [
        ("splits", ", ".join(f"{name} {splits[name]:,}" for name in ("train", "val", "test")) + ", from the folders"),
        ("classes", f"one folder per class in each: {class_counts(image.label for image in listed)}"),
    ]


def _size(root: Path, images: list[str], detected: DetectedData) -> None:
    """Add a finding with the sizes of some images. If they are small, add settings for a small network input."""
    sample = images[:: max(1, len(images) // HEADERS_READ)]
    size_of = {path: size for path in sample if (size := image_headers.image_size(root / path)) is not None}
    sizes = Counter(size_of.values())
    if bad := [path for path in sample if path not in size_of]:
        shown = f"{len(bad)} of {len(sample)} sampled images cannot be read" if len(bad) > 1 else "cannot be read"
        detected.warnings.append(f"{bad[0]}: {shown} as an image. `medtune data` lists every unreadable file")
    if sizes:
        shown = ", ".join(f"{width}x{height}" for (width, height), _ in sizes.most_common(3))
        detected.findings.append(("image size", f"{shown} pixels ({sum(sizes.values())} images read)"))
        side = int(np.median([min(size) for size in sizes.elements()]))
        if side < 128:
            detected.settings |= _network_input(max(32, side // 16 * 16))


def _network_input(side: int) -> dict[str, Any]:
    """Return the settings for images of `side` pixels with the bundled backbone."""
    return {"data.image_size": side, "model.backbone_args": {"img_size": side}}

"""Detection of two-dimensional images with masks in `medtune init`: two folders, or a table with path and mask."""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from medtune.cli import detect_slides, detect_table, detect_volumes, volume_layouts
from medtune.cli.detected import DetectedData
from medtune.config.errors import InputError
from medtune.data.dataset_json import FILE
from medtune.data.label_names import MAX_LABELS
from medtune.data.listing import scan_root
from medtune.data.mask_names import pair_names
from medtune.data.prediction_results import describe_results, find_results, without_label_maps
from medtune.data.volume_cases import strip_suffix
from medtune.data.volume_files import VolumeFiles
from medtune.serving.decode import decode, decode_labels
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.image_file import SUFFIXES

FILES_READ = 8
WHITE = 255  # value of the only label in masks that are meant to be viewed
# Names of folders whose images are not used for training.
_UNUSED = re.compile(r"(?i)(?:images?|labels?|masks?|imgs?)?[-_ ]?(?:ts|te|test(?:ing)?|val(?:id(?:ation)?)?)")
# Images are not enlarged for the backbone. The default of this setting enlarges small volumes.
SETTINGS: dict[str, Any] = {"model.head.slice_scale": 1.0}


def detect_masks(root: Path, table: str | None = None) -> DetectedData | None:
    """Detect a data set of images with masks.

    Args:
        root: data root.
        table: file name of the table in `root`; None to search for a table or folders.

    Returns:
        Settings, findings and warnings. None if the data are not images with masks.

    Raises:
        InputError: an image or a mask is missing, or a mask cannot be used.
    """
    if not root.is_dir():
        return None
    content = scan_root(root, SUFFIXES)
    results = find_results(root, content.others)
    files = without_label_maps(content.images, results)
    layout = volume_layouts.by_table(root, table, SUFFIXES, "masks") if files else None
    if layout is None and table is None and files and not _has_classes(root):
        layout = by_folders(files)
    if layout is None or detect_slides.find_slides(root):
        return None
    detected = DetectedData({**detect_volumes.TASK, **SETTINGS, **layout.settings})
    samples = detect_volumes.list_layout(root, layout)
    volumes = [sample.volume for sample in samples if sample.volume is not None]
    detected.findings = [("images", f"{len(samples):,} with masks in {root}"), ("layout", layout.title)]
    _set_colors(volumes, detected)
    _set_labels(root, volumes, detected)
    detect_volumes.set_split(samples, layout, detected)
    if unused := len(files) - 2 * len(samples):
        detected.findings.append(("not used", f"{unused:,} images"))
    detected.findings += describe_results(results)
    return detected


def _has_classes(root: Path) -> bool:
    """Return True if a table in the folder has a column of labels, which means classification."""
    table = detect_table.find_table(root, DetectedData())
    return table is not None and detect_table.has_column(table, "label")


def by_folders(files: Sequence[str]) -> volume_layouts.Layout | None:
    """Return the layout of a folder of images and a folder of masks.

    Args:
        files: image files, relative to the data root.

    Returns:
        The layout if at least half of the images have a mask with a matching name. Otherwise None, also if other
        folders contain images, because the folders are then classes.
    """
    names: defaultdict[str, set[str]] = defaultdict(set)
    for file in files:
        folder, _, rest = file.partition("/")
        if not rest:
            return None
        names[folder].add(strip_suffix(rest, SUFFIXES) or rest)
    used = [folder for folder in sorted(names) if not _UNUSED.fullmatch(folder)]
    for images, masks in permutations(used, 2):
        if len(used) > 2 or not volume_layouts.is_mask_pair(images, masks):
            continue
        if 2 * len(pair_names(names[images], names[masks])) >= len(names[images]):
            settings = {"data.source": "masks", "data.images": images, "data.masks": masks}
            return volume_layouts.Layout(settings, f"folders {images} and {masks}, with matching names")
    return None


def _set_colors(volumes: Sequence[VolumeFiles], detected: DetectedData) -> None:
    """Set `data.color` to rgb or gray, from the pixels of some images."""
    read = volumes[:: max(1, len(volumes) // FILES_READ)][:FILES_READ]
    sizes, colors, bad = set(), False, []
    for volume in read:
        path = volume.channels[0]
        try:
            image = decode(path)
        except DecodeError as error:
            bad.append(f"{path}: {error}")
            continue
        sizes.add(image.size)
        colors |= image.pixels.ndim == 3 and not (image.pixels == image.pixels[..., :1]).all()
    if bad:
        more = f" ({len(bad)} of {len(read)} files read)" if len(bad) > 1 else ""
        detected.warnings.append(f"{bad[0]}{more}. `medtune data` lists every file that cannot be used")
    if sizes:
        width, height = np.median(sorted(sizes), axis=0).astype(int).tolist()
        kind = "color" if colors else "gray"
        detected.settings["data.color"] = "rgb" if colors else "gray"
        detected.findings.append(("size", f"{width} x {height} pixels, {kind} ({len(read)} images read)"))


def _set_labels(root: Path, volumes: Sequence[VolumeFiles], detected: DetectedData) -> None:
    """Name the labels, and set `data.mask_values` if the only label has the value 255."""
    masks = [volume.mask for volume in volumes if volume.mask is not None]
    read = masks[:: max(1, len(masks) // FILES_READ)][:FILES_READ]
    counts: defaultdict[int, int] = defaultdict(int)
    for mask in read:
        try:
            found = np.unique(decode_labels(mask)).astype(np.int64).tolist()
        except DecodeError as error:
            raise InputError(f"{mask}: {error}") from None
        for value in found:
            counts[value] += value != 0
    labels = {value: count for value, count in sorted(counts.items()) if count}
    if not labels:
        raise InputError(f"{read[0]}: {len(read)} masks were read, and all are empty. Add masks with labels")
    if [*labels] == [WHITE]:
        detected.settings["data.mask_values"] = {WHITE: 1}
        detected.findings.append(("masks", f"{WHITE} counts as label 1 (data.mask_values)"))
        labels = {1: labels[WHITE]}
    if min(labels) < 0 or max(labels) > min(MAX_LABELS, 2 * len(labels)):
        shown = ", ".join(map(str, [*labels][:FILES_READ]))
        raise InputError(
            f"{read[0]}: the masks have the values {shown}. Number the labels 1, 2, ... without gaps, or state their "
            "numbers in data.mask_values"
        )
    detect_volumes.name_labels(labels, len(read), detected, _label_names(root))


def _label_names(root: Path) -> dict[int, str]:
    """Return the names of the labels in dataset.json of nnU-Net, by number; empty without this file."""
    try:
        labels = json.loads((root / FILE).read_bytes().decode("utf-8-sig"))["labels"]
        return {int(number): str(name) for name, number in labels.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}

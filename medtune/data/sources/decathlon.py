"""Source `decathlon`: volumes in the layout of the Medical Segmentation Decathlon, which dataset.json lists.

The source also reads the layout of nnU-Net version 1. Its dataset.json is the same, but each channel has its own file:
imagesTr/CASE_0000.nii.gz for the entry imagesTr/CASE.nii.gz.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from medtune.config.errors import InputError
from medtune.data.dataset_json import (
    FILE,
    channel_names,
    data_root,
    label_names,
    numbered_labels,
    read_dataset_json,
    read_mapping,
)
from medtune.data.dataset_json import inputs as inputs
from medtune.data.sample import Sample
from medtune.data.volume_cases import VolumeCase, require_folder, strip_suffix, to_samples
from medtune.data.volume_params import VolumeFileParams
from medtune.serving.field_error import show_json, wrong_field

NAME = "Medical Segmentation Decathlon"
LICENSE = "CC BY-SA 4.0 for the published tasks; dataset.json states the license of other sets"
CITATION = (
    "M. Antonelli, A. Reinke, S. Bakas et al.: The Medical Segmentation Decathlon. Nature Communications 13:4128, 2022."
)
KNOWN_ISSUES = (
    "There are no patient ids. Volumes of one patient may be in both train and test. In the hippocampus task, 394 "
    "volumes show 195 patients.",
)
# A key that only dataset.json of the source `nnunet` has, and the name of this source.
_OTHER = ("channel_names", "nnunet")


class Params(VolumeFileParams):
    """No further parameters. Without `patient_pattern`, the patients are unknown."""

    source: Literal["decathlon"] = "decathlon"


def classes(params: Params) -> tuple[str, ...]:
    """Return the label names in index order, without the background; an empty tuple if `root` is null."""
    root = data_root(params)
    return () if root is None else _labels(_read(root))


def channels(params: Params) -> tuple[str, ...]:
    """Return the names of the channels (modalities) in order; an empty tuple if `root` is null."""
    root = data_root(params)
    return () if root is None else channel_names(_read(root), "modality")


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """List the training volumes that dataset.json names.

    Args:
        root: the data root, which contains dataset.json.
        params: section `data` of params.yaml.

    Returns:
        One sample per volume, sorted by path.

    Raises:
        InputError: dataset.json is damaged or names files that cannot be used, or `patient_pattern` does not match.
    """
    root = require_folder(root, params.source)
    content = _read(root)
    _labels(content)  # raises InputError for wrong labels
    n_channels = len(channel_names(content, "modality"))
    cases = [_with_channel_files(root, case, n_channels) for case in _cases(content["training"])]
    if not cases:
        raise InputError(f'{FILE}: key "training" lists no volumes. Add the volumes that have a mask')
    return to_samples(root, cases, FILE, params.patient_pattern)


def _read(root: Path) -> dict[str, Any]:
    return read_dataset_json(root, "decathlon", ("modality", "labels", "training"), _OTHER)


def _labels(content: dict[str, Any]) -> tuple[str, ...]:
    """Check the labels and return their names, without the background."""
    labels = read_mapping(content, "labels", '{"0": "background"}')
    return label_names(numbered_labels(labels, number_first=True))


def _cases(training: Any) -> Iterator[VolumeCase]:
    """Yield a case for each entry of the list `training` in dataset.json."""
    if not isinstance(training, list):
        raise InputError(f"{FILE}: {wrong_field('training', training, 'a list of volumes')}. Correct it")
    for number, entry in enumerate(training):
        where = f"{FILE} training[{number}]"
        image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (None, None)
        if not (isinstance(image, str) and image and isinstance(label, str) and label):
            raise InputError(
                f"{where}: {show_json(entry)} does not name an image and a label ({len(training):,} entries). "
                "Correct it"
            )
        name = PurePosixPath(image).name
        if not name.startswith("._"):  # macOS stores the metadata of NAME in ._NAME
            yield VolumeCase(strip_suffix(name) or name, (image,), label, where)


def _with_channel_files(root: Path, case: VolumeCase, n_channels: int) -> VolumeCase:
    """Return the case with one file per channel if the files are named as in nnU-Net, otherwise unchanged."""
    (image,) = case.images
    base = strip_suffix(image)
    if base is None or os.path.isfile(root / image) or not os.path.isfile(root / f"{base}_0000{image[len(base) :]}"):
        return case
    images = tuple(f"{base}_{channel:04d}{image[len(base) :]}" for channel in range(n_channels))
    return replace(case, images=images)


def example(root: Path) -> dict[str, object]:
    """Write a tiny data set in this layout to `root` and return the params that read it."""
    import json

    from medtune.data.volume_example import write_case

    names = [f"case_{number:03d}.nii.gz" for number in range(12)]
    for number, name in enumerate(names):
        write_case([root / "imagesTr" / name], root / "labelsTr" / name, number)
        (root / "imagesTr" / f"._{name}").write_bytes(b"\0\5\x16\7")
    content = {
        "name": "Example",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "upper organ", "2": "lower organ", "3": "lesion"},
        "numTraining": len(names),
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
        "test": [],
    }
    (root / FILE).write_text(json.dumps(content), encoding="utf-8")
    return {"split": {"protocol": "image"}}

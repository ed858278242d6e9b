"""Source `nnunet`: volumes in the raw layout of nnU-Net v2, with imagesTr, labelsTr and dataset.json."""

import re
from pathlib import Path
from typing import Any, Literal

from medtune.config.errors import InputError, pluralize
from medtune.data.dataset_json import (
    FILE,
    channel_names,
    data_root,
    label_names,
    numbered_labels,
    read_dataset_json,
    read_mapping,
    require_keys,
)
from medtune.data.dataset_json import inputs as inputs
from medtune.data.sample import Sample
from medtune.data.volume_cases import SUFFIXES, VolumeCase, require_folder, show_name, to_samples
from medtune.data.volume_params import VolumeFileParams
from medtune.serving.field_error import one_of, show_json, wrong_field

NAME = "local volumes in the layout of nnU-Net"
LICENSE = "defined by the owner of the volumes"
CITATION = (
    "Layout: F. Isensee, P. Jaeger, S. Kohl, J. Petersen, K. Maier-Hein: nnU-Net: a self-configuring method for deep "
    "learning-based biomedical image segmentation. Nature Methods 18:203-211, 2021."
)
KNOWN_ISSUES = ("The layout has no patient ids. Without data.patient_pattern, the patients are unknown.",)
IMAGES, MASKS = "imagesTr", "labelsTr"
# A key that only dataset.json of the source `decathlon` has, and the name of this source.
_OTHER = ("training", "decathlon")
_SHOWN = 3


class Params(VolumeFileParams):
    """No further parameters. Without `patient_pattern`, the patients are unknown."""

    source: Literal["nnunet"] = "nnunet"


def classes(params: Params) -> tuple[str, ...]:
    """Return the label names in index order, without the background; an empty tuple if `root` is null."""
    root = data_root(params)
    return () if root is None else _labels(_read(root))


def channels(params: Params) -> tuple[str, ...]:
    """Return the channel names in order; an empty tuple if `root` is null."""
    root = data_root(params)
    return () if root is None else _channels(_read(root))


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """List the training cases.

    Args:
        root: the data root, which contains dataset.json, imagesTr and labelsTr.
        params: section `data` of params.yaml.

    Returns:
        One sample per case, sorted by path.

    Raises:
        InputError: dataset.json is damaged, a label is a region (several numbers), the files do not match
            dataset.json, or `patient_pattern` does not match.
    """
    root = require_folder(root, params.source)
    content = _read(root)
    _labels(content)  # raises InputError for wrong labels
    names = _channels(content)
    ending = content["file_ending"]
    if ending not in SUFFIXES:
        raise InputError(f"{FILE}: {wrong_field('file_ending', ending, one_of(SUFFIXES))}. Convert the files to NIfTI")
    cases = _cases(root, ending, len(names))
    samples = to_samples(root, cases, f"{IMAGES} and {MASKS}", params.patient_pattern)
    if content.get("numTraining", len(cases)) != len(cases):
        raise InputError(
            f'{FILE}: key "numTraining" is {show_json(content["numTraining"])}, but {IMAGES} has '
            f"{pluralize(len(cases), 'case')}. "
            "Complete the folder, or correct the key"
        )
    return samples


def _read(root: Path) -> dict[str, Any]:
    content = read_dataset_json(root, "nnunet", ("labels", "file_ending"), _OTHER)
    if "dataset" in content:
        raise InputError(
            f'{FILE}: it lists files under key "dataset", which is not supported. Copy the files to '
            f"{IMAGES} and {MASKS}, and remove the key"
        )
    return content


def _channels(content: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the channels. Like nnU-Net, also read the key `modality` of earlier versions."""
    key = "modality" if "modality" in content and "channel_names" not in content else "channel_names"
    require_keys(content, (key,))
    return channel_names(content, key)


def _labels(content: dict[str, Any]) -> tuple[str, ...]:
    """Check the labels and return their names, without the background. Reject regions and the label `ignore`."""
    labels = read_mapping(content, "labels", '{"background": 0}')
    regions = [name for name, number in labels.items() if isinstance(number, list)]
    if regions or "regions_class_order" in content:
        problem = 'key "regions_class_order" is set'
        if regions:
            problem = f"label {show_json(regions[0])} is a region of several numbers"
        raise InputError(f"{FILE}: {problem}, and overlapping labels are not supported. Give each label one number")
    if "ignore" in labels:
        raise InputError(
            f'{FILE}: the label "ignore" is not supported. Label these voxels, or remove the cases and the label'
        )
    return label_names(numbered_labels(labels, number_first=False))


def _cases(root: Path, ending: str, n_channels: int) -> list[VolumeCase]:
    """Return one case for each name in imagesTr or labelsTr, with the expected paths of its channels and its mask."""
    images, masks = (_names(root, folder, ending) for folder in (IMAGES, MASKS))
    parsed = {name: re.fullmatch(r"(.+)_(\d{4})", name) for name in images}
    if wrong := [name for name, match in parsed.items() if match is None]:
        raise InputError(
            f"{IMAGES}: {show_name(wrong[0] + ending)} is not named CASE_0000{ending} ({len(wrong):,} of "
            f"{len(images):,} files). Add the number of the channel to the names"
        )
    matches = [match for match in parsed.values() if match is not None]
    if extra := [match[0] for match in matches if int(match[2]) >= n_channels]:
        raise InputError(
            f"{IMAGES}: {show_name(extra[0] + ending)} has a channel that is not in channel_names ({n_channels} "
            f"channels; {len(extra):,} of {len(images):,} files). Add the channel to {FILE}, or remove "
            "the files"
        )
    names = sorted({match[1] for match in matches} | set(masks))
    if not names:
        raise InputError(f"data.root={root}: no {ending} files in {IMAGES}. Add the training cases")
    return [
        VolumeCase(
            name,
            tuple(f"{IMAGES}/{name}_{channel:04d}{ending}" for channel in range(n_channels)),
            f"{MASKS}/{name}{ending}",
        )
        for name in names
    ]


def _names(root: Path, folder: str, ending: str) -> list[str]:
    """Return the sorted names of the files in a folder, without their ending. Hidden files are left out."""
    if not (root / folder).is_dir():
        found = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir())[:_SHOWN]) or "no folders"
        raise InputError(f"data.root={root}: no folder {folder}; found {found}. Set data.root to the data set's folder")
    files = (path.name for path in (root / folder).iterdir() if not path.name.startswith("."))
    return sorted(name[: -len(ending)] for name in files if name.endswith(ending))


def example(root: Path) -> dict[str, object]:
    """Write a tiny data set in this layout to `root` and return the params that read it."""
    import json

    from medtune.data.volume_example import write_case

    for number in range(12):
        name, folder = f"P{number // 2}_{number % 2}", root / IMAGES
        write_case([folder / f"{name}_{n:04d}.nii.gz" for n in range(2)], root / MASKS / f"{name}.nii.gz", number)
    content = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "upper organ": 1, "lower organ": 2, "lesion": 3},
        "numTraining": 12,
        "file_ending": ".nii.gz",
    }
    (root / FILE).write_text(json.dumps(content), encoding="utf-8")
    return {"patient_pattern": r"(P\d+)_"}

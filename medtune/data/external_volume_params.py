"""Params for the evaluation of an exported model (bundle) on external volumes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtune.config.errors import InputError
from medtune.config.external import FIXED, ExternalParams, read_overrides, source_params, trained_values, validated
from medtune.data.dataset_json import FILE, find_source
from medtune.data.volume_listing import ListedVolumeParams
from medtune.data.volume_params import VolumeFileParams

# Source that reads volumes from a table or from two folders.
LISTED = "volumes"
# Keys that the user must not set, by section of params.yaml.
FIXED_VOLUMES = {**FIXED, "data": ("csv", "root", "spacing", "patch", "intensity", "split")}
# Keys that define how files of two-dimensional images are read. Their values in training are kept.
IMAGE_KEYS = ("color", "mask_values")
_SHOWN = 6


def external_volume_params(document: Mapping[str, Any], data: Path, sets: Sequence[str] = ()) -> ExternalParams:
    """Combine bundle.json, the external volumes and the assignments of `--set` into params.

    Args:
        document: content of bundle.json.
        data: folder with dataset.json of nnU-Net or of the Decathlon, table with the columns path and mask, or folder
            with the folders images and masks.
        sets: `key=value` assignments of data.* and evaluate.*. `data.label_map` maps labels of the data to classes of
            the bundle. `data.channel_names` replaces the names of the channels in dataset.json.

    Returns:
        Validated params. The labels of a table or of two folders get the names of the classes of the bundle, unless
        `sets` names them.

    Raises:
        InputError: the data do not exist or do not fit the source, an assignment is invalid, or it sets a key that the
            bundle determines.
    """
    if not data.exists():
        raise InputError(
            f"--data={data}: does not exist. Name a folder with {FILE}, a table with the columns path and mask, or a "
            "folder with images and masks"
        )
    path, overlay = data.resolve(), read_overrides(sets, FIXED_VOLUMES)
    chosen = overlay.get("data", {})
    label_map = _check_map(chosen.pop("label_map", {}))
    source = _source(document, path, chosen.get("source"))
    section = source_params(source)
    if not issubclass(section, VolumeFileParams):
        raise InputError(f"--set data.source={source}: not a source of volumes in files. Use a source such as {LISTED}")
    listed = issubclass(section, ListedVolumeParams)
    values: dict[str, Any] = {"source": source, "root": str(path), "split": {"protocol": "image"}}
    if path.is_file():
        if not listed:
            raise InputError(
                f"--set data.source={source}: reads a folder, but --data={data} is a file. Name the folder"
            )
        values |= {"root": str(path.parent), "csv": path.name}
    elif issubclass(section, ListedVolumeParams):
        _check_folders(path, data, section, chosen)
    if listed:
        values["class_names"] = list(document["classes"])
    trained = (document.get("params") or {}).get("data") or {}
    values |= {key: trained[key] for key in IMAGE_KEYS if key in section.model_fields and key in trained}
    channels: tuple[str, ...] = ()
    if "channel_names" in section.model_fields:
        values["channel_names"] = list(document["volumes"]["channels"])
    else:
        channels = _check_channel_names(chosen.pop("channel_names", []))
    params = validated({**trained_values(document), "data": values}, overlay, section)
    assert isinstance(params.data, VolumeFileParams)  # an instance of `section`
    reads_images, has_images = "images" in document["volumes"], params.data.is_planar
    if reads_images != has_images:
        kinds = ["two-dimensional images" if planar else "volumes" for planar in (reads_images, has_images)]
        raise InputError(
            f"data.source={source}: the bundle segments {kinds[0]}, but the source reads {kinds[1]}. Use another source"
        )
    return replace(params, label_map=label_map, channel_names=channels)


def _check_map(label_map: Any) -> dict[str, str]:
    """Return `data.label_map`. Raise InputError unless it maps text to text."""
    if not isinstance(label_map, dict) or not all(isinstance(name, str) for pair in label_map.items() for name in pair):
        raise InputError(f"data.label_map={label_map}: expected names of labels and classes, such as {{tumour: tumor}}")
    return label_map


def _check_channel_names(names: Any) -> tuple[str, ...]:
    """Return `data.channel_names`. Raise InputError unless it is a list of text."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"data.channel_names={names}: expected a list of names, such as [T1, T2]")
    return tuple(names)


def _source(document: Mapping[str, Any], path: Path, chosen: Any) -> str:
    """Return the name of the source.

    Args:
        document: content of bundle.json.
        path: the data.
        chosen: source that the user set, or None.

    Returns:
        The first of these that exists: the source that the user set, the source that reads dataset.json in `path`, the
        source of the training if it reads a table or two folders, and `LISTED`.
    """
    if chosen is not None:
        return str(chosen)
    if path.is_dir() and (found := find_source(path)):
        return found
    trained = ((document.get("params") or {}).get("data") or {}).get("source")
    if trained is None:
        return LISTED
    try:
        section = source_params(str(trained))
    except InputError:  # a source of another version or of an extension
        return LISTED
    return str(trained) if issubclass(section, ListedVolumeParams) else LISTED


def _check_folders(path: Path, data: Path, section: type[ListedVolumeParams], chosen: Mapping[str, Any]) -> None:
    """Reject a folder without the folders of images and masks, with a message about --data."""
    named = [str(chosen.get(key, section.model_fields[key].default)) for key in ("images", "masks")]
    if all((path / name).is_dir() for name in named):
        return
    found = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    shown = ", ".join(found[:_SHOWN]) + (f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else "")
    raise InputError(
        f"--data={data}: no {FILE} of nnU-Net or the Decathlon, and no folders {' and '.join(named)} (folders: "
        f"{shown or 'none'}). Name the folders with --set data.images=FOLDER --set data.masks=FOLDER, or name a table "
        "with the columns path and mask"
    )

"""Predictions of bundles for volumes in stage gate, one volume in memory at a time."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.data.manifest import DIGEST_COLUMNS, PreparedDataset
from medtune.data.sample import Sample
from medtune.data.source_listing import list_source
from medtune.data.volume_inspection import array_sha256, volume_files
from medtune.data.volume_reading import LabeledVolume, read_labeled
from medtune.data.wording import wording
from medtune.runtime.progress import progress
from medtune.serving.manifest_fields import VOLUMES
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.pipeline import PostProcessing, Preparation, Segmentation
from medtune.tasks import base
from medtune.tasks.segmentation.outputs import SegmentedVolumes

Advance = Callable[[], None]


def predict_volumes(
    folder: Path,
    name: str,
    document: Mapping[str, Any],
    prepared: PreparedDataset,
    rows: np.ndarray,
    networks: np.ndarray,
    params: Params,
) -> list[Any]:
    """Segment test volumes with single networks of a bundle.

    If the bundle normalizes or resamples volumes differently than data/prepared, the original files are read again.

    Args:
        folder: folder of the bundle.
        name: name of the bundle for the progress bar.
        document: content of bundle.json.
        prepared: the prepared data.
        rows: (n,) rows of the volumes.
        networks: (n,) index of the network in the bundle, for each volume.
        params: all params.

    Returns:
        Predictions of the task, one entry per network in use.

    Raises:
        InputError: an original file is missing or has changed.
    """
    bundle, task, predictions = VolumeBundle.load(folder), base.evaluation(params.task.kind), []
    image = _images(bundle, prepared, rows, params)
    with progress(f"gate: {name}", len(rows), wording(prepared.info).items) as advance:
        for member in np.unique(networks).tolist():
            selected = rows[networks == member]
            loaders = [
                partial(_segment, bundle, prepared, int(row), member, image, advance) for row in selected.tolist()
            ]
            outputs: Any = SegmentedVolumes(loaders, params.task)  # type: ignore[arg-type]
            predictions.append(task.from_bundle(prepared, selected, outputs, member_document(document, member)))
    return predictions


def member_document(document: Mapping[str, Any], member: int) -> dict[str, Any]:
    """Return bundle.json with the post-processing of one network."""
    decision = document["members"][member].get("decision", {})
    values = {**document[VOLUMES]["post_processing"], **decision}
    rule = PostProcessing.from_document(values).document()
    return {**document, VOLUMES: {**document[VOLUMES], "post_processing": rule}}


def incompatibility(document: Mapping[str, Any], champion: Mapping[str, Any]) -> str | None:
    """Return why two bundles for volumes cannot be compared, or None if they can.

    The patch size, the normalization and the spacing may differ.

    Args:
        document: content of bundle.json of the challenger.
        champion: content of bundle.json of the champion.
    """
    pairs = {
        "task.kind": [each["task"]["kind"] for each in (document, champion)],
        "classes": [each.get("classes") for each in (document, champion)],
        "volumes.channels": [each.get(VOLUMES, {}).get("channels") for each in (document, champion)],
    }
    for name, (new, old) in pairs.items():
        if new != old:
            return f"{name}: {new}, but {old} for the champion"
    return None


def changed_masks(
    prepared: PreparedDataset, rows: Sequence[int], earlier: Mapping[str, Mapping[str, str]]
) -> list[int]:
    """Find volumes whose mask differs from the mask in earlier data.

    Args:
        prepared: the prepared data.
        rows: rows of the volumes to check.
        earlier: rows of an earlier manifest.csv, by path of the volume.

    Returns:
        The rows with a changed mask. Volumes that are not in the earlier data, or without a digest, are omitted.
    """
    column = DIGEST_COLUMNS[1]
    digests = prepared.file_digests.get(column, ())
    found = {row: earlier.get(prepared.paths[row], {}).get(column) for row in rows} if digests else {}
    return [row for row, sha256 in found.items() if sha256 not in (None, digests[row])]


def _images(
    bundle: VolumeBundle, prepared: PreparedDataset, rows: np.ndarray, params: Params
) -> Callable[[int], np.ndarray]:
    """Return a function that prepares the volume of a row for the bundle.

    Raises:
        InputError: an original file is missing. The returned function raises it if a file has changed.
    """
    preparation = bundle.settings.preparation
    if preparation == Preparation.from_document(prepared.info["volumes"]):
        return prepared.volumes.image
    listed = list_source(params.data, base.targets(params.task.kind).HAS_POSITIVE)
    samples = {sample.path: sample for sample in listed.samples}
    if missing := [prepared.paths[row] for row in rows.tolist() if prepared.paths[row] not in samples]:
        raise InputError(f"{missing[0]}: the source has no such volume any more. Run `medtune data`")

    def read(row: int) -> np.ndarray:
        """Read a volume from its original files, and prepare it for the bundle."""
        volume = _read(samples[prepared.paths[row]], prepared)
        same_mask = np.array_equal(volume.mask, prepared.volumes.truth(row))
        sha256 = prepared.file_digests.get(DIGEST_COLUMNS[0])
        if not same_mask or (sha256 and sha256[row] != array_sha256(volume.image)):
            raise InputError(f"{prepared.paths[row]}: the files have changed. Run `medtune data`")
        return preparation.apply(volume.image, volume.spacing)

    return read


def _read(sample: Sample, prepared: PreparedDataset) -> LabeledVolume:
    try:
        return read_labeled(volume_files(sample), prepared.volumes.channels, len(prepared.classes))
    except DecodeError as error:
        raise InputError(f"{sample.path}: {error}. Run `medtune data`") from None


def _segment(
    bundle: VolumeBundle,
    prepared: PreparedDataset,
    row: int,
    member: int,
    image: Callable[[int], np.ndarray],
    advance: Advance,
) -> Segmentation:
    """Segment the volume of a row with the network `member` of the bundle."""
    entry = prepared.volumes.entries[row]
    x, y, z = entry.original_shape
    result = bundle.segment_prepared(image(row), (x, y, z), entry.spacing, member)
    advance()
    return result

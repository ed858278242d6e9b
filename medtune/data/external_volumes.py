"""Preparation of external volumes: labeled volumes on which an exported model (bundle) is evaluated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.errors import InputError
from medtune.data import findings
from medtune.data.external import ExternalListing, external_dataset
from medtune.data.external_labels import check_channels, match_labels
from medtune.data.manifest import DIGEST_COLUMNS, PreparedDataset
from medtune.data.packing import check_rejected
from medtune.data.sample import Sample
from medtune.data.source_listing import list_source
from medtune.data.volume_inspection import (
    Inspection,
    VolumeFacts,
    file_problem,
    inspect_headers,
    inspect_volumes,
    outside,
    pixel_mm,
    volume_files,
)
from medtune.data.volume_packing import pack_volumes
from medtune.data.volume_params import VolumeIntensityParams, VolumeParams
from medtune.data.volume_reading import LabeledVolume, read_labeled, spacing_notes
from medtune.data.volume_scratch import VolumeScratch
from medtune.data.wording import wording_of_params
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.document import VolumeSettings
from medtune.serving.volumes.pipeline import Preparation
from medtune.serving.volumes.resampling import resampled_shape
from medtune.serving.volumes.volume_intensity import PER_VOLUME


@dataclass(frozen=True)
class ExternalVolumes(ExternalListing):
    """External volumes after all checks that do not read voxels.

    Attributes:
        numbers: label number of the bundle for each label number 0, 1, 2, ... of the masks.
        images: entry `volumes.images` of bundle.json; None if the bundle does not read two-dimensional images.
    """

    numbers: tuple[int, ...] = ()
    images: Mapping[str, Any] | None = None


def list_volumes(
    params: VolumeParams,
    classes: Sequence[str],
    channels: Sequence[str],
    label_map: Mapping[str, str],
    channel_names: Sequence[str] = (),
    images: Mapping[str, Any] | None = None,
) -> ExternalVolumes:
    """List the volumes, and check their patients, labels and channels.

    Args:
        params: section `data` of params.yaml.
        classes: classes of the bundle, in index order.
        channels: channels of the bundle.
        label_map: class of the bundle, or `background`, by the name of a label.
        channel_names: names that replace the channel names of the data; empty: no replacement.
        images: entry `volumes.images` of bundle.json; None if the bundle does not read two-dimensional images.

    Returns:
        The volumes.

    Raises:
        InputError: see `medtune.data.source_listing.list_source`; or labels or channels differ from those of the
            bundle, the table has a column split, or the pixel spacing of images is unknown.
    """
    listed = list_source(params, has_positive=False)
    if images is not None:
        listed = replace(listed, samples=[_with_spacing(sample, images.get("pixel_mm")) for sample in listed.samples])
    in_data = tuple(listed.source.channels(params))
    if channel_names and len(channel_names) != len(in_data):
        raise InputError(
            f"data.channel_names={list(channel_names)}: the data have {len(in_data)} channels. Name each once"
        )
    check_channels(channel_names or in_data, channels)
    numbers = match_labels(listed.classes, classes, label_map)
    common = ExternalListing.from_source(listed, classes, getattr(params, "csv", None))
    return ExternalVolumes(common.listed, common.classes, common.columns, None, numbers, images)


def _with_spacing(sample: Sample, pixel_mm: Sequence[float] | None) -> Sample:
    """Return an image with a spacing: its own or, as in `medtune predict`, that of the training images in mm."""
    files = volume_files(sample)
    if files.spacing is not None:
        return sample
    if pixel_mm is None:
        raise InputError(
            f"{sample.path}: the pixel spacing is unknown, and the training images have different spacings. Add a "
            "column spacing to the table"
        )
    return replace(sample, volume=replace(files, spacing=(float(pixel_mm[0]), float(pixel_mm[1]), 1.0)))


def prepare_external_volumes(
    listing: ExternalVolumes, params: VolumeParams, settings: VolumeSettings, folder: Path, name: str, targets: Any
) -> PreparedDataset:
    """Prepare the volumes in the same way as `medtune predict` does, and return them as one test set.

    All files are checked before the first volume is prepared.

    Args:
        listing: result of `list_volumes`.
        params: section `data` of params.yaml.
        settings: entry `volumes` of bundle.json.
        folder: existing folder for the volumes, which must exist as long as the set is in use.
        name: name of the data, for the report.
        targets: targets module of the task (`medtune.tasks.base.Targets`).

    Returns:
        A prepared set in which all volumes are test volumes of fold 0.

    Raises:
        InputError: volumes or masks cannot be used and `params.on_bad_image` is error, or none can be used.
    """
    listed, channels, labels = listing.listed, len(settings.channels), len(listing.numbers) - 1
    unit = wording_of_params(params).items
    targets.check(listed.samples)
    headers = inspect_headers(listed.samples, listed.root, channels)
    samples = _keep(listed.samples, headers, params)
    rules = {rule.rule for rule in settings.preparation.intensity}
    rule = VolumeIntensityParams(rule="zscore" if rules & set(PER_VOLUME) else "foreground")
    decoded = VolumeScratch(folder / ".decoded", lambda files: read_labeled(files, channels, labels))
    inspection = _check_preparation(
        samples, inspect_volumes(samples, listed.root, channels, labels, rule, decoded.read, unit), settings.preparation
    )
    samples = _keep(samples, inspection, params)
    numbers = np.array(listing.numbers, np.uint8)
    facts = [_renumber(fact, listing.numbers, len(listing.classes)) for fact in inspection.facts]

    def read(row: int) -> LabeledVolume:
        try:
            volume = decoded.read_last(samples[row])
        except DecodeError as error:  # the file has changed since the inspection
            problem = file_problem(error, samples[row], listed.root)
            raise InputError(f"{samples[row].path}: {problem}. Correct the file") from None
        return replace(volume, mask=numbers[volume.mask])

    digests = pack_volumes(folder, facts, read, settings.preparation, unit)
    decoded.close()
    strata = findings.all_labels(samples)
    return external_dataset(
        listing,
        params,
        folder,
        name,
        samples,
        [*headers.rejected, *inspection.rejected],
        spacing_notes([volume_files(sample) for sample in samples]),
        entries={
            "volumes": {
                **settings.preparation.document(),
                "channels": list(settings.channels),
                "patch": list(settings.patch),
                "strata": list(strata),
                **({} if listing.images is None else {"images": {**listing.images, "pixel_mm": pixel_mm(facts)}}),
            }
        },
        labels=np.array([strata.index(sample.label) for sample in samples], np.int64),
        images=np.zeros((len(samples), 0, 0, 3), np.uint8),
        sha256=digests,
        file_digests={DIGEST_COLUMNS[0]: tuple(fact.sha256 for fact in facts)},
    )


def _keep(samples: Sequence[Sample], inspection: Inspection, params: VolumeParams) -> list[Sample]:
    """Return the samples that passed an inspection. Raise InputError as `check_rejected` does."""
    unit = wording_of_params(params).items
    check_rejected(inspection.rejected, len(samples), params.on_bad_image, bool(inspection.selected), unit)
    return [samples[row] for row in inspection.selected]


def _check_preparation(samples: Sequence[Sample], inspection: Inspection, preparation: Preparation) -> Inspection:
    """Move volumes that the settings of the bundle cannot prepare to the rejected volumes."""
    kept: list[tuple[int, VolumeFacts]] = []
    rejected = list(inspection.rejected)
    for row, fact in zip(inspection.selected, inspection.facts, strict=True):
        if problem := _problem(fact, preparation):
            rejected.append((samples[row].path, problem))
        else:
            kept.append((row, fact))
    return Inspection(tuple(row for row, _ in kept), tuple(rejected), tuple(fact for _, fact in kept))


def _problem(fact: VolumeFacts, preparation: Preparation) -> str | None:
    """Return why the settings of the bundle cannot prepare a volume, or None if they can."""
    try:
        resampled_shape(fact.shape, fact.spacing, preparation.spacing)
    except DecodeError as error:
        return str(error)
    windows = [
        (-np.inf if rule.low is None else rule.low, np.inf if rule.high is None else rule.high)
        for rule in preparation.intensity
    ]
    return outside(fact, windows)


def _renumber(fact: VolumeFacts, numbers: Sequence[int], classes: int) -> VolumeFacts:
    """Convert the number of voxels per label of the mask to the number per class of the bundle."""
    voxels = np.zeros(classes + 1, np.int64)
    np.add.at(voxels, list(numbers[1:]), fact.voxels)
    return replace(fact, voxels=tuple(voxels[1:].tolist()))

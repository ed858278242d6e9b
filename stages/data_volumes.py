"""Preparation of volumes in stage data: check, split, normalize and resample them, and write them to data/prepared."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.data import contact_sheet_volumes, duplicates, findings, manifest_writing
from medtune.data.dataset_report import check_duplicates, describe_dataset, finish_dataset
from medtune.data.fold_assignments import FoldAssignments
from medtune.data.packing import check_rejected
from medtune.data.sample import Sample
from medtune.data.sample_volumes import write_sample_volumes
from medtune.data.source_listing import SourceListing
from medtune.data.splits import SplitResult, split_samples
from medtune.data.volume_inspection import (
    Inspection,
    VolumeFacts,
    file_problem,
    inspect_headers,
    inspect_volumes,
    pixel_mm,
    volume_files,
)
from medtune.data.volume_labels import check_labels
from medtune.data.volume_packing import pack_volumes
from medtune.data.volume_params import VolumeParams
from medtune.data.volume_preparation import PreparationPlan, plan_preparation
from medtune.data.volume_reading import LabeledVolume, read_labeled, spacing_notes
from medtune.data.volume_scratch import VolumeScratch
from medtune.data.wording import Wording, wording_of_params
from medtune.runtime.artifact import Artifact, partial_dir
from medtune.runtime.paths import RunPaths
from medtune.serving.pixels import DecodeError
from medtune.tasks import base


@dataclass(frozen=True)
class PackedVolumes:
    """Facts about the packed volumes for manifest.csv, one entry per volume.

    Attributes:
        sha256: digests of the packed volumes.
        original_sizes: numbers of voxels of the original volumes along the first two axes.
    """

    sha256: tuple[str, ...]
    original_sizes: tuple[tuple[int, int], ...]


def prepare_volumes(
    params: Params,
    paths: RunPaths,
    listed: SourceListing,
    assignments: FoldAssignments,
    key: str,
    start_time: float,
    before_decoding: Callable[[], None],
) -> Artifact:
    """Prepare a data set of volumes.

    Args:
        params: all params.
        paths: where to write.
        listed: the volumes that the source contains.
        assignments: earlier folds of the patients.
        key: cache key of the artifact.
        start_time: start of the stage on the clock `time.perf_counter`, in seconds.
        before_decoding: function that is called before the voxels are decoded, after all other checks.

    Returns:
        The finished artifact data/prepared.

    Raises:
        InputError: the volumes, the masks or the requested split are invalid, or a file changed during the stage.
    """
    data, task = params.data, base.targets(params.task.kind)
    assert isinstance(data, VolumeParams)  # the caller has checked `has_volumes`
    channels, labels, words = tuple(listed.source.channels(data)), listed.classes, wording_of_params(data)

    def split(samples: Sequence[Sample]) -> SplitResult:
        """Split samples into training, validation and test."""
        strata = findings.all_labels(samples)
        return split_samples(samples, strata, data.split, data.source, assignments, task.MIN_CLASSES)

    task.check(listed.samples)
    split(listed.samples)
    headers = inspect_headers(listed.samples, listed.root, len(channels))
    samples = _keep(listed.samples, headers, data)
    before_decoding()
    folder = partial_dir(paths.prepared)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    decoded = VolumeScratch(folder / ".decoded", lambda files: read_labeled(files, len(channels), len(labels)))
    inspection = inspect_volumes(
        samples, listed.root, len(channels), len(labels), data.intensity, decoded.read, words.items
    )
    samples = _keep(samples, inspection, data)
    facts, names = inspection.facts, [sample.path for sample in samples]
    done = split(samples)
    label_notes = check_labels(facts, done.splits, labels, data.split, words.item)
    twice = duplicates.duplicate_report(
        duplicates.find_equal([fact.sha256 for fact in facts]),
        names,
        [fact.mask_sha256 for fact in facts],
        done.splits,
        data.split.trained_folds,
    )
    leaks = check_duplicates(twice, data.split.protocol, words.items)

    def read(row: int, last: bool = False) -> LabeledVolume:
        """Read the volume and the mask of a row. With `last`, the stored copy is deleted."""
        try:
            return (decoded.read_last if last else decoded.read)(samples[row])
        except DecodeError as error:  # the file has changed since the inspection
            raise InputError(
                f"{names[row]}: {file_problem(error, samples[row], listed.root)}. Correct the file"
            ) from None

    training = _training_rows(done, data.split.trained_folds)
    plan = plan_preparation(data, names, facts, training, read)
    digests = pack_volumes(folder, facts, lambda row: read(row, last=True), plan.preparation, words.items)
    packed_time = time.perf_counter()

    sizes = tuple((fact.shape[0], fact.shape[1]) for fact in facts)
    test_fold = "all" if data.split.test_fold == "all" else data.split.test_folds[0]
    packed = PackedVolumes(digests, sizes)
    manifest_writing.write_manifest(folder, samples, packed, done, test_fold, [_cells(fact) for fact in facts])
    notes = [*listed.notes, *done.notes, *label_notes, *leaks, *_notes(samples, plan, done, training, words)]
    labeled = [_with_labels(sample, fact, labels) for sample, fact in zip(samples, facts, strict=True)]
    info = describe_dataset(data, listed, labeled, done.splits, done.leaked_patients, notes)
    info |= {"sites": list(done.sites)} if done.sites else {}
    info["volumes"] = {
        **plan.preparation.document(),
        "channels": list(channels),
        "patch": list(plan.patch),
        "strata": list(findings.all_labels(samples)),
        **({"images": {"pixel_mm": pixel_mm(facts)}} if data.is_planar else {}),
    }
    manifest_writing.write_info(folder, info)
    contact_sheet_volumes.write_contact_sheet(
        folder / "samples.png", folder, names, plan.preparation.spacing, labels, data.is_planar
    )
    if all(volume_files(sample).read is not None for sample in samples):
        tested = done.splits[:, data.split.test_folds[0]] == "test"
        chosen = [(row, name) for row, name in enumerate(names) if tested[row]]
        write_sample_volumes(folder / "samples", chosen, lambda row: read(row, last=True))
    decoded.close()
    rejected = [*listed.rejected, *headers.rejected, *inspection.rejected]
    entries = {
        "duplicates": twice,
        "images_per_second": round(len(samples) / max(packed_time - start_time, 1e-9), 1),
    }
    return finish_dataset(paths.prepared, key, params, listed, rejected, info, entries, start_time)


def _keep(samples: Sequence[Sample], inspection: Inspection, data: VolumeParams) -> list[Sample]:
    """Return the samples that passed the inspection. Raise InputError if `data.on_bad_image` forbids rejections."""
    unit = wording_of_params(data).items
    check_rejected(inspection.rejected, len(samples), data.on_bad_image, bool(inspection.selected), unit)
    return [samples[row] for row in inspection.selected]


def _training_rows(split: SplitResult, folds: Sequence[int]) -> list[int]:
    """Return the rows of volumes that train the network of at least one fold, without external test volumes."""
    rows = range(len(split.splits))
    columns = split.splits[:, list(folds)]
    return [row for row in rows if "train" in columns[row] and "external" not in split.splits[row]]


def _cells(fact: VolumeFacts) -> tuple[object, ...]:
    """Return the additional columns of manifest.csv for a volume."""
    spacing = "x".join(f"{value:.6g}" for value in fact.spacing)
    return fact.shape[2], spacing, fact.orientation, fact.sha256, fact.mask_sha256


def _with_labels(sample: Sample, fact: VolumeFacts, labels: Sequence[str]) -> Sample:
    """Return a sample whose findings are the labels that its mask contains, to count volumes per label."""
    present = tuple(name for name, voxels in zip(labels, fact.voxels, strict=True) if voxels)
    return replace(sample, findings=present, label="background only")


def _notes(
    samples: Sequence[Sample], plan: PreparationPlan, split: SplitResult, training: Sequence[int], words: Wording
) -> list[str]:
    """Return notes about settings that were determined from all volumes, and about spacings."""
    notes = []
    if plan.derived and (split.splits[list(training)] == "test").any():
        notes.append(
            f"These settings were determined from all {words.items}, as in nnU-Net, because each is a training "
            f"{words.item} of at least one fold: {', '.join(plan.derived)}."
        )
    return [*notes, *spacing_notes([volume_files(sample) for sample in samples])]

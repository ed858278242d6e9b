"""External data: labeled images or volumes, as one test set, on which an exported model (bundle) is evaluated."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.data import DataParams
from medtune.config.errors import InputError
from medtune.data import manifest_writing
from medtune.data.manifest import DIGEST_COLUMNS, PreparedDataset
from medtune.data.sample import Sample
from medtune.data.source_listing import SourceListing
from medtune.data.wording import wording, wording_of_params

PROTOCOL = "external"
_REJECTED = "Left out: "


@dataclass(frozen=True)
class ExternalListing:
    """External samples after all checks that do not read pixels.

    Attributes:
        listed: the samples and their labels.
        classes: classes of the bundle, in index order.
        columns: metadata cells of all samples, by name of the column.
        positive: positive class of the bundle, which has index 1; None if there is none.
    """

    listed: SourceListing
    classes: tuple[str, ...]
    columns: dict[str, list[str]]
    positive: str | None = None

    @classmethod
    def from_source(
        cls, listed: SourceListing, classes: Sequence[str], table: str | None, positive: str | None = None
    ) -> "ExternalListing":
        """Add the classes of the bundle and the metadata columns to the listing of a source.

        Args:
            listed: the samples.
            classes: classes of the bundle, in index order.
            table: name of the table, for messages; None for folders.
            positive: positive class of the bundle; None if there is none.

        Returns:
            The listing.

        Raises:
            InputError: the table has a column split, or a column has a reserved name.
        """
        samples = listed.samples
        names = list(samples[0].metadata)
        if split := [name for name in names if name.strip().casefold() == "split"]:
            raise InputError(
                f"--data={table}: the table has a column {split[0]}, but all rows are evaluated, including training "
                "images. Remove the other rows, and rename or remove the column."
            )
        manifest_writing.check_metadata(names, 1, f"--data={table}", volumes=samples[0].volume is not None)
        columns = {name: [sample.metadata[name] for sample in samples] for name in names}
        return cls(listed, tuple(classes), columns, positive)


def external_dataset(
    listing: ExternalListing,
    params: DataParams,
    folder: Path,
    name: str,
    samples: Sequence[Sample],
    rejected: Sequence[tuple[str, str]],
    notes: Sequence[str],
    entries: Mapping[str, Any],
    labels: np.ndarray,
    images: np.ndarray,
    sha256: tuple[str, ...],
    file_digests: Mapping[str, tuple[str, ...]] | None = None,
) -> PreparedDataset:
    """Return prepared samples as one test set.

    Args:
        listing: all samples, including those that were left out.
        params: section `data` of params.yaml.
        folder: folder with the prepared samples.
        name: name of the data, for the report.
        samples: the prepared samples.
        rejected: path and reason of samples that were left out during the preparation.
        notes: notes about the preparation.
        entries: further entries of dataset.json.
        labels: `PreparedDataset.labels`.
        images: `PreparedDataset.images`.
        sha256: `PreparedDataset.sha256`.
        file_digests: `PreparedDataset.file_digests`.

    Returns:
        A prepared set in which all samples are test samples of fold 0.
    """
    listed = listing.listed
    patients = [sample.path if sample.patient_id is None else sample.patient_id for sample in samples]
    rejected, total = [*listed.rejected, *rejected], len(listed.samples) + len(listed.rejected)
    unit = wording_of_params(params).items
    info = {
        "name": name,
        "source": params.source,
        "classes": list(listing.classes),
        **({"positive": listing.positive} if listing.positive is not None else {}),
        "license": listed.source.LICENSE,
        "citation": listed.source.CITATION,
        "faults": list(listed.source.KNOWN_ISSUES),
        "protocol": PROTOCOL,
        "n_images": len(samples),
        "n_patients": len(set(patients)),
        "patients_known": samples[0].patient_id is not None,
        "leaked_patients": [],
        "notes": [*listed.notes, *notes, *_rejected_note(rejected, total, unit)],
        "allow_values": list(params.allow_values),
        **entries,
    }
    return PreparedDataset(
        folder=folder,
        info=info,
        classes=listing.classes,
        paths=tuple(sample.path for sample in samples),
        labels=labels,
        patient_ids=np.array(patients),
        folds=np.zeros(len(samples), np.int64),
        splits=np.full((len(samples), 1), "test"),
        images=images,
        sha256=sha256,
        metadata_cells={column: tuple(sample.metadata[column] for sample in samples) for column in listing.columns},
        names=tuple(sample.label for sample in samples),
        file_digests=file_digests or {},
    )


def external_warnings(prepared: PreparedDataset) -> list[str]:
    """Return warnings for readers of the metrics: unknown patients, samples that were left out, and duplicates."""
    info, warnings = prepared.info, []
    unit, pattern = wording(info).item, " or data.patient_pattern" if prepared.has_volumes else ""
    if not info["patients_known"]:
        warnings.append(
            f"The patients are unknown. Intervals treat each {unit} as a patient, and are too narrow if a patient has "
            f"several {unit}s. Set data.columns.patient to the column of the patients{pattern}."
        )
    warnings += [note for note in info["notes"] if note.startswith(_REJECTED)]
    digests = prepared.file_digests.get(DIGEST_COLUMNS[0], prepared.sha256)
    if repeated := [sha for sha, count in Counter(digests).items() if count > 1]:
        rows = [row for row, sha in enumerate(digests) if sha == repeated[0]]
        example = " = ".join(prepared.paths[row] for row in rows[:2])
        warnings.append(f"{len(repeated):,} {unit}s have exact duplicates ({example}); each copy counts.")
    return warnings


def class_counts(prepared: PreparedDataset) -> Mapping[str, int]:
    """Return the number of samples that have each class, finding or label of the bundle."""
    return {name: int(prepared.has(index).sum()) for index, name in enumerate(prepared.classes)}


def _rejected_note(rejected: Sequence[tuple[str, str]], total: int, unit: str) -> list[str]:
    """Return one note about the samples that were left out, or an empty list without such samples."""
    if not rejected:
        return []
    path, reason = rejected[0]
    return [f"{_REJECTED}{len(rejected):,} of {total:,} {unit} that cannot be used, for example {path}: {reason}."]

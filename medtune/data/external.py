"""Preparation of external images: labeled images on which a bundle is evaluated."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.data import DataParams
from medtune.config.errors import InputError, set_option
from medtune.data import manifest, manifest_writing
from medtune.data.class_selection import list_names
from medtune.data.findings import encode_labels, rarest_finding
from medtune.data.identifiers import is_missing, label_key
from medtune.data.listing import scan_root
from medtune.data.packing import IMAGES_FILE, pack
from medtune.data.sample import Sample
from medtune.data.source_listing import SourceListing, list_source
from medtune.data.wording import wording
from medtune.serving.intensity import Intensity

PROTOCOL = "external"
_SHOWN = 5


@dataclass(frozen=True)
class ExternalListing:
    """External images that are checked but not decoded.

    Attributes:
        listed: the images and their labels.
        classes: classes of the bundle, in index order.
        columns: metadata of each image, by column.
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
        """Return the listing with the columns of the table.

        Args:
            listed: the images.
            classes: classes of the bundle, in index order.
            table: the table; None for folders.
            positive: positive class of the bundle.

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
        manifest_writing.check_metadata(names, 1, volumes=samples[0].volume is not None)
        columns = {name: [sample.metadata[name] for sample in samples] for name in names}
        return cls(listed, tuple(classes), columns, positive)


def list_external(params: DataParams, classes: Sequence[str], positive: str | None = None) -> ExternalListing:
    """List the images and check their patients and labels, as the stage `data` does.

    Args:
        params: section data.
        classes: classes of the bundle, in index order.
        positive: positive class of the bundle; None if there is none.

    Returns:
        The images.

    Raises:
        InputError: as for `medtune.data.source_listing.list_source`; or a label is not a class of the bundle, the
            positive class differs, or the table has a column split.
    """
    if params.positive not in (None, positive):
        raise InputError(
            f"data.positive={params.positive}: the bundle's positive class is {positive}. Remove this key."
        )
    _check_findings(params, classes)
    listed = list_source(_with_known_labels(params, classes), has_positive=False)
    samples = listed.samples
    if params.root is not None and getattr(params, "csv", None) is None:
        _check_depth(samples, classes, Path(params.root))
    _check_labels(samples, classes)
    return ExternalListing.from_source(listed, classes, getattr(params, "csv", None), positive)


def _check_findings(params: DataParams, classes: Sequence[str]) -> None:
    """Reject a table that lacks a column for a finding of the bundle. The finding would be unknown, not absent."""
    columns = getattr(params, "columns", None)
    if columns is None or columns.labels is None:
        return
    label_map = getattr(params, "label_map", {})
    named = {label_map.get(name, name) for name in columns.labels}
    if missing := [name for name in classes if name not in named]:
        raise InputError(
            f"data.columns.labels={list_names(columns.labels, _SHOWN)}: the bundle also predicts "
            f"{list_names(missing, _SHOWN)}, and a finding without a column is unknown, not absent. Add a column of 0 "
            "and 1 for each of them"
        )


def _with_known_labels(params: DataParams, classes: Sequence[str]) -> DataParams:
    """Return params that accept every label, so that `_check_labels` can report all unknown labels together."""
    changes: dict[str, Any] = {
        "positive": None,  # the bundle determines the positive class and the order of the classes
        "allow_values": [*params.allow_values, *(name for name in classes if is_missing(name))],
    }
    if params.multi_label:
        return params.model_copy(update={**changes, "class_names": list(classes)})
    if getattr(params, "csv", None) is None and params.root is not None:
        folders = {Path(path).parts[0] for path in scan_root(Path(params.root)).images if "/" in path}
        changes["class_names"] = [*classes, *sorted(folders - set(classes))]
    return params.model_copy(update=changes)


def _check_depth(samples: Sequence[Sample], classes: Sequence[str], root: Path) -> None:
    """Reject class folders that are one level deeper, inside split folders or a single folder."""
    keys = {label_key(name) for name in classes}
    tops = {Path(sample.path).parts[0] for sample in samples}
    inner = [parts for sample in samples if len(parts := Path(sample.path).parts) > 2 and label_key(parts[1]) in keys]
    if inner and not any(label_key(top) in keys for top in tops):
        outer = list_names(sorted({parts[0] for parts in inner}), _SHOWN)
        raise InputError(
            f"--data={root}: the class folders are one level deeper, in {outer}. Use one of these folders: "
            f"--data {shlex.quote(str(root / inner[0][0]))}"
        )


def _check_labels(samples: Sequence[Sample], classes: Sequence[str]) -> None:
    counts = Counter(label for sample in samples for label in sample.labels)
    unknown = [label for label in sorted(counts) if label not in classes]
    if not unknown:
        return
    meant = {label: [name for name in classes if label_key(name) == label_key(label)] for label in unknown}
    likely = {label: names[0] if len(names) == 1 else "CLASS" for label, names in meant.items()}
    shown = list_names([f"{label} ({counts[label]:,} images)" for label in unknown], _SHOWN)
    fix = set_option("data.label_map", dict(list(likely.items())[:_SHOWN]))
    raise InputError(
        f"labels {shown} are not classes of the bundle ({list_names(classes, _SHOWN)}). Map them to classes with "
        f"{fix}, or remove these images."
    )


def prepare_external(
    listing: ExternalListing,
    params: DataParams,
    intensity: Intensity,
    folder: Path,
    name: str,
    targets: Any,
) -> manifest.PreparedDataset:
    """Decode the images in the same way as a prediction with the bundle does, and return them as one test set.

    Args:
        listing: result of `list_external`.
        params: section data.
        intensity: intensity range of the bundle.
        folder: existing folder for the pixels. It must exist as long as the set is in use.
        name: name of the data, for the report.
        targets: targets module of the task (`medtune.tasks.base.Targets`).

    Returns:
        A prepared set in which all images are test images of fold 0.

    Raises:
        InputError: images cannot be used, or do not fit the intensity range of the bundle.
    """
    listed, samples, classes = listing.listed, listing.listed.samples, listing.classes
    targets.check(samples)
    packed = pack(samples, listed.root, folder, params.image_size, params.resize, params.on_bad_image, intensity)
    selected = [samples[index] for index in packed.selected]
    manifest_writing.write_targets(folder, (targets.encode(sample, params) for sample in selected), len(selected))
    patients_known = selected[0].patient_id is not None
    patients = [sample.path if sample.patient_id is None else sample.patient_id for sample in selected]
    rejected = [*listed.rejected, *packed.rejected]
    encoded = encode_labels(selected, classes)
    labels = encoded if encoded.ndim == 1 else rarest_finding(encoded[:, : len(classes)])
    info = {
        "name": name,
        "source": params.source,
        "classes": list(classes),
        **({"positive": listing.positive} if listing.positive is not None else {}),
        "license": listed.source.LICENSE,
        "citation": listed.source.CITATION,
        "faults": list(listed.source.KNOWN_ISSUES),
        "protocol": PROTOCOL,
        "n_images": len(selected),
        "n_patients": len(set(patients)),
        "patients_known": patients_known,
        "leaked_patients": [],
        "notes": [*listed.notes, *packed.notes, *rejected_note(rejected, len(samples) + len(listed.rejected))],
        "allow_values": list(params.allow_values),
        **(listed.source.metadata(params) if hasattr(listed.source, "metadata") else {}),
    }
    return manifest.PreparedDataset(
        folder=folder,
        info=info,
        classes=classes,
        paths=tuple(sample.path for sample in selected),
        labels=labels,
        patient_ids=np.array(patients),
        folds=np.zeros(len(selected), np.int64),
        splits=np.full((len(selected), 1), "test"),
        images=np.lib.format.open_memmap(folder / IMAGES_FILE, mode="r"),
        sha256=packed.sha256,
        metadata_cells={column: tuple(sample.metadata[column] for sample in selected) for column in listing.columns},
        names=tuple(sample.label for sample in selected),
    )


def external_warnings(prepared: manifest.PreparedDataset) -> list[str]:
    """Return warnings about metrics on these images: unknown patients, rejected images and duplicates."""
    info, warnings = prepared.info, []
    unit, pattern = wording(info).item, " or data.patient_pattern" if prepared.has_volumes else ""
    if not info["patients_known"]:
        warnings.append(
            f"The patients are unknown. Intervals treat each {unit} as a patient, and are too narrow if a patient has "
            f"several {unit}s. Set data.columns.patient to the column of the patients{pattern}."
        )
    warnings += [note for note in info["notes"] if note.startswith(_REJECTED)]
    digests = prepared.file_digests.get(manifest.DIGEST_COLUMNS[0], prepared.sha256)
    if repeated := [sha for sha, count in Counter(digests).items() if count > 1]:
        rows = [row for row, sha in enumerate(digests) if sha == repeated[0]]
        example = " = ".join(prepared.paths[row] for row in rows[:2])
        warnings.append(f"{len(repeated):,} {unit}s have exact duplicates ({example}); each copy counts.")
    return warnings


_REJECTED = "Left out: "


def rejected_note(rejected: Sequence[tuple[str, str]], total: int, unit: str = "images") -> list[str]:
    """Return a note about the (path, reason) of samples that were left out; empty without any."""
    if not rejected:
        return []
    path, reason = rejected[0]
    return [f"{_REJECTED}{len(rejected):,} of {total:,} {unit} that cannot be used, for example {path}: {reason}."]


def class_counts(prepared: manifest.PreparedDataset) -> Mapping[str, int]:
    """Return the number of images per class or finding of the bundle."""
    return {name: int(prepared.has(index).sum()) for index, name in enumerate(prepared.classes)}

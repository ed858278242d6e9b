"""External labeled images as a prepared set for the evaluation of a finished bundle."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medtune.config.data import DataParams
from medtune.config.errors import InputError, set_option
from medtune.data import manifest
from medtune.data.class_selection import list_names
from medtune.data.findings import members, rarest
from medtune.data.identifiers import is_missing, label_key
from medtune.data.listing import scan_root
from medtune.data.packing import IMAGES_FILE, pack
from medtune.data.sample import Sample
from medtune.data.source_listing import SourceListing, list_source
from medtune.serving.intensity import Intensity

PROTOCOL = "external"
_SHOWN = 5


@dataclass(frozen=True)
class ExternalListing:
    """The external images, checked but not decoded.

    Attributes:
        listed: the images and their labels.
        classes: of the bundle, in index order.
        columns: metadata of each image by column.
        positive: positive class of the bundle, the one with index 1; None where there is none.
    """

    listed: SourceListing
    classes: tuple[str, ...]
    columns: dict[str, list[str]]
    positive: str | None = None


def list_external(params: DataParams, classes: Sequence[str], positive: str | None = None) -> ExternalListing:
    """List the images and check patients and labels as stage data does.

    Args:
        params: section data.
        classes: of the bundle, in index order.
        positive: positive class of the bundle; None where there is none.

    Raises:
        InputError: as `medtune.data.source_listing.list_source` says, or a label that is no class of the bundle.
    """
    if params.positive not in (None, positive):
        raise InputError(f"data.positive={params.positive}: the bundle's positive class is {positive}. Remove it.")
    _check_findings(params, classes)
    listed = list_source(_with_known_labels(params, classes), has_positive=False)
    samples = listed.samples
    if params.root is not None and getattr(params, "csv", None) is None:
        _check_depth(samples, classes, Path(params.root))
    _check_labels(samples, classes)
    names = list(samples[0].metadata)
    if split := [name for name in names if name.strip().casefold() == "split"]:
        raise InputError(
            f"--data={getattr(params, 'csv', None)}: the table has a column {split[0]}, but every row is evaluated, "
            "training images too. Keep the rows that you mean, and rename or remove the column."
        )
    manifest.check_metadata(names, 1)
    columns = {name: [s.metadata[name] for s in samples] for name in names}
    return ExternalListing(listed, tuple(classes), columns, positive)


def _check_findings(params: DataParams, classes: Sequence[str]) -> None:
    """Refuse columns of findings that leave out one of the bundle's: images that nobody looked at do not lack it."""
    columns = getattr(params, "columns", None)
    if columns is None or columns.labels is None:
        return
    label_map = getattr(params, "label_map", {})
    named = {label_map.get(name, name) for name in columns.labels}
    if missing := [name for name in classes if name not in named]:
        raise InputError(
            f"data.columns.labels={list_names(columns.labels, _SHOWN)}: the bundle also predicts "
            f"{list_names(missing, _SHOWN)}, and a finding without a column is unknown, not absent. Name a column of 0 "
            "and 1 for each"
        )


def _with_known_labels(params: DataParams, classes: Sequence[str]) -> DataParams:
    """Params that leave the comparison of labels and classes to `_check_labels`, which names all that differ."""
    changes: dict[str, Any] = {
        "positive": None,  # the bundle's, which decides the order of its classes
        "allow_values": [*params.allow_values, *(name for name in classes if is_missing(name))],
    }
    if params.multi_label:
        return params.model_copy(update={**changes, "class_names": list(classes)})
    if getattr(params, "csv", None) is None and params.root is not None:
        folders = {Path(path).parts[0] for path in scan_root(Path(params.root)).images if "/" in path}
        changes["class_names"] = [*classes, *sorted(folders - set(classes))]
    return params.model_copy(update=changes)


def _check_depth(samples: Sequence[Sample], classes: Sequence[str], root: Path) -> None:
    """Refuse class folders that lie one folder deeper: in those of splits, or in one folder around all."""
    keys = {label_key(name) for name in classes}
    tops = {Path(sample.path).parts[0] for sample in samples}
    inner = [parts for sample in samples if len(parts := Path(sample.path).parts) > 2 and label_key(parts[1]) in keys]
    if inner and not any(label_key(top) in keys for top in tops):
        found = list_names(sorted({parts[0] for parts in inner}), _SHOWN)
        raise InputError(
            f"--data={root}: the class folders lie one folder deeper, in {found}. Name one folder: "
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
        f"labels {shown} are no classes of the bundle ({list_names(classes, _SHOWN)}). Say which they are "
        f"with {fix}, or remove these images."
    )


def prepare_external(
    listing: ExternalListing,
    params: DataParams,
    intensity: Intensity,
    folder: Path,
    name: str,
    targets: Any,
) -> manifest.PreparedDataset:
    """Decode the images as the bundle's consumers do, and return them as one test set.

    Args:
        listing: of `list_external`.
        params: section data.
        intensity: range of values that the bundle stores.
        folder: existing folder for the pixels; it must stay while the set is in use.
        name: of the data, for the report.
        targets: part of the task that encodes targets (`medtune.tasks.base.Targets`).

    Raises:
        InputError: images that cannot be used, or that the bundle's intensity range does not fit.
    """
    listed, samples, classes = listing.listed, listing.listed.samples, listing.classes
    targets.check(samples)
    packed = pack(samples, listed.root, folder, params.image_size, params.resize, params.on_bad_image, intensity)
    kept = [samples[position] for position in packed.selected]
    manifest.write_targets(folder, (targets.encode(sample, params) for sample in kept), len(kept))
    known = kept[0].patient_id is not None
    patients = [sample.path if sample.patient_id is None else sample.patient_id for sample in kept]
    rejected = [*listed.rejected, *packed.rejected]
    found = members(kept, classes)
    labels = found if found.ndim == 1 else rarest(found[:, : len(classes)])
    info = {
        "name": name,
        "source": params.source,
        "classes": list(classes),
        **({"positive": listing.positive} if listing.positive is not None else {}),
        "licence": listed.source.LICENSE,
        "citation": listed.source.CITATION,
        "faults": list(listed.source.KNOWN_ISSUES),
        "protocol": PROTOCOL,
        "n_images": len(kept),
        "n_groups": len(set(patients)),
        "groups_known": known,
        "leaked_groups": [],
        "notes": [*listed.notes, *packed.notes, *_rejected_note(rejected, len(samples) + len(listed.rejected))],
        "allow_values": list(params.allow_values),
        **(listed.source.metadata(params) if hasattr(listed.source, "metadata") else {}),
    }
    return manifest.PreparedDataset(
        folder=folder,
        info=info,
        classes=classes,
        paths=tuple(sample.path for sample in kept),
        labels=labels,
        patient_ids=np.array(patients),
        folds=np.zeros(len(kept), np.int64),
        splits=np.full((len(kept), 1), "test"),
        images=np.lib.format.open_memmap(folder / IMAGES_FILE, mode="r"),
        sha256=packed.sha256,
        metadata_cells={column: tuple(sample.metadata[column] for sample in kept) for column in listing.columns},
        names=tuple(sample.label for sample in kept),
    )


def external_warnings(prepared: manifest.PreparedDataset) -> list[str]:
    """What limits metrics on these images: unknown patients, images left out, and images that are there twice."""
    info, found = prepared.info, []
    if not info["groups_known"]:
        found.append(
            "No patients are known: the intervals treat each image as a patient, and are too narrow if a patient has "
            "several images. Name the column of the patients with data.columns.group."
        )
    found += [note for note in info["notes"] if note.startswith(_REJECTED)]
    if repeated := [sha for sha, count in Counter(prepared.sha256).items() if count > 1]:
        rows = [row for row, sha in enumerate(prepared.sha256) if sha == repeated[0]]
        example = " = ".join(prepared.paths[row] for row in rows[:2])
        found.append(f"{len(repeated):,} images are there more than once, pixel for pixel ({example}), and count so.")
    return found


_REJECTED = "Left out: "


def _rejected_note(rejected: Sequence[tuple[str, str]], total: int) -> list[str]:
    if not rejected:
        return []
    path, reason = rejected[0]
    return [f"{_REJECTED}{len(rejected):,} of {total:,} images that cannot be used, for example {path}: {reason}."]


def class_counts(prepared: manifest.PreparedDataset) -> Mapping[str, int]:
    """Images of each class of the bundle, or that show each of its findings."""
    return {name: int(prepared.has(index).sum()) for index, name in enumerate(prepared.classes)}

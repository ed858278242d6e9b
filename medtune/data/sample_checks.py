"""Checks of patients, labels and file names for all data sources."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from medtune.config.data import DataParams
from medtune.config.errors import InputError, fill_in, pluralize, set_option
from medtune.data.class_selection import list_names
from medtune.data.identifiers import is_missing, is_rounded_number, label_key, patient_key, similar, spell, squeeze
from medtune.data.sample import Sample
from medtune.serving.folder_scan import printable

_SHOWN = 3


@dataclass(frozen=True)
class CheckedSamples:
    """Samples with valid patients, labels and file names.

    Attributes:
        samples: the valid samples, in the same order.
        rejected: (path, reason) of each sample that was left out.
        notes: changes of the samples, one sentence each.
    """

    samples: list[Sample]
    rejected: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def check_samples(
    samples: Sequence[Sample], params: DataParams, classes: Sequence[str] = (), name_patients: bool = True
) -> CheckedSamples:
    """Check the patients, labels and file names.

    Args:
        samples: all images of a source.
        params: section `data` of params.yaml.
        classes: class names that the source or the user defines; empty if the labels determine them.
        name_patients: True if messages may contain the patients. False if the patients come from DICOM headers.

    Returns:
        The valid samples.

    Raises:
        InputError: a file name is not UTF-8 (unless `on_bad_image` is reject), a patient or label is a marker of a
            missing value, patients or labels differ only in spelling, or a label is not a class.
    """
    named, rejected = _check_names(samples, params)
    allowed = {squeeze(value) for value in params.allow_values}
    _check_missing(named, "label", lambda sample: sample.labels, allowed | set(map(squeeze, classes)))
    _check_missing(named, "patient", lambda sample: (sample.patient_id,), allowed, name_patients)
    _check_labels(named, classes)
    checked, notes = _check_patients(named, params, name_patients)
    return CheckedSamples(checked, rejected, notes)


def _where(sample: Sample) -> str:
    """Return the location of a sample, for messages."""
    return sample.where or printable(sample.path)


def _first(locations: Sequence[str]) -> str:
    """Join the first locations, and add the number of the others."""
    return ", ".join(locations[:_SHOWN]) + (f" and {len(locations) - _SHOWN:,} more" if len(locations) > _SHOWN else "")


def _check_names(samples: Sequence[Sample], params: DataParams) -> tuple[list[Sample], tuple[tuple[str, str], ...]]:
    """Return the samples with valid file names, and (path, reason) of the others if `on_bad_image` is reject."""
    bad = [sample for sample in samples if printable(sample.path) != sample.path]
    if not bad:
        return list(samples), ()
    reason = "the file name is not valid UTF-8"
    if params.on_bad_image == "error" or len(bad) == len(samples):
        them = "it" if len(bad) == 1 else "them"
        raise InputError(
            f"{len(bad):,} of {len(samples):,} images cannot be used: {_first([printable(s.path) for s in bad])}: "
            f"{reason}. Rename {them}, or leave {them} out with {set_option('data.on_bad_image', 'reject')}"
        )
    bad_paths = {sample.path for sample in bad}
    valid = [sample for sample in samples if sample.path not in bad_paths]
    return valid, tuple((printable(sample.path), reason) for sample in bad)


def _check_missing(
    samples: Sequence[Sample],
    what: str,
    values_of: Callable[[Sample], Iterable[str | None]],
    allowed: set[str],
    show: bool = True,
) -> None:
    """Reject markers of missing values, and patients that a spreadsheet rounded.

    Args:
        samples: the samples.
        what: label or patient.
        values_of: returns the labels or the patient of a sample.
        allowed: markers that are real values, as `squeeze` returns them.
        show: True if messages may contain a rounded value.

    Raises:
        InputError: there is such a value.
    """
    locations: defaultdict[str, list[str]] = defaultdict(list)
    missing: dict[str, bool] = {}
    values = ((sample, value) for sample in samples for value in values_of(sample))
    for sample, value in values:
        if value is None:
            continue
        if value not in missing:
            missing[value] = is_missing(value) and (not squeeze(value) or squeeze(value) not in allowed)
            if what == "patient" and is_rounded_number(value):
                shown = f"{value!r}, " if show else ""
                raise InputError(
                    f"{_where(sample)}: patient is {shown}a number that a spreadsheet rounded, so that different "
                    "patients may have become one. Format the column as text and export the table again"
                )
        if missing[value]:
            locations[value].append(_where(sample))
    if not locations:
        return
    parts = [
        f"{_first(rows)}: {what} is {spell(value)[0]}" + (f" ({len(rows):,} images)" if len(rows) > 1 else "")
        for value, rows in sorted(locations.items())
    ]
    names = [value for value in sorted(locations) if squeeze(value)]
    noun = "patient" if what == "patient" else "class"
    allow = set_option("data.allow_values", names)
    exception = f", or if {' and '.join(map(repr, names))} is a real {noun}, allow it with {allow}" if names else ""
    raise InputError(
        f"{'; '.join(parts)}, which means unknown, but every image needs a {noun}. "
        f"{fill_in(sum(map(len, locations.values())), 'row' if samples[0].where else 'image')}{exception}"
    )


def _check_labels(samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Reject labels that differ only in spelling, and labels that are not in `classes` (if there are any)."""
    counts = Counter(label for sample in samples for label in sample.labels)
    sets = [labels for labels in similar(counts.elements(), label_key) if not set(labels) <= set(classes)]
    if sets:
        shown = "; ".join(
            " and ".join(
                f"{text} ({pluralize(counts[label], 'image')})"
                for text, label in zip(spell(*labels), labels, strict=True)
            )
            for labels in sets
        )
        common = {
            label: next((name for name in labels if name in classes), labels[0]) for labels in sets for label in labels
        }
        merge = set_option("data.label_map", {label: name for label, name in common.items() if label != name})
        raise InputError(
            f"labels {shown} differ only in case, blanks, Unicode form or a final dot. Merge them into one class with "
            f"{merge}, or if they are different classes, list every class in data.class_names"
        )
    labeled = ((sample, label) for sample in samples for label in sample.labels if classes)
    for sample, label in labeled:
        if label not in classes:
            meant = next((name for name in classes if label_key(name) == label_key(label)), None)
            mapped = set_option("data.label_map", {label: meant or "CLASS"})
            fix = f". Rename it with {mapped}" if meant else f". Add it there, or map it with {mapped}"
            raise InputError(
                f"{_where(sample)}: label {label!r} is not in data.class_names ({list_names(classes)}){fix}"
            )


def _check_patients(samples: list[Sample], params: DataParams, show: bool) -> tuple[list[Sample], tuple[str, ...]]:
    """Reject or merge several spellings of a patient (`data.similar_patients`). Return the samples and a note."""
    sets = similar((sample.patient_id for sample in samples if sample.patient_id is not None), patient_key)
    if not sets or params.similar_patients == "different":
        return samples, ()
    if params.similar_patients == "error":
        first: dict[str, str] = {}
        for sample in samples:
            first.setdefault(sample.patient_id or "", _where(sample))
        shown = "; ".join(
            " and ".join(
                f"{text} ({first[name]})" if show else first[name]
                for text, name in zip(spell(*names), names, strict=True)
            )
            for names in sets[:_SHOWN]
        )
        more = f"; and {len(sets) - _SHOWN:,} more" if len(sets) > _SHOWN else ""
        raise InputError(
            f"data.similar_patients=error: {pluralize(len(sets), 'patient')} with several spellings, which "
            "differ only in case, "
            f"blanks, Unicode form, leading zeros or a trailing .0: {shown}{more}. If the spellings mean the same "
            f"patient, add {set_option('data.similar_patients', 'equal')}; otherwise add "
            f"{set_option('data.similar_patients', 'different')}"
        )
    common = {name: names[0] for names in sets for name in names}
    merged = [replace(sample, patient_id=common.get(sample.patient_id or "", sample.patient_id)) for sample in samples]
    note = f"{len(sets):,} patients had several spellings, which were merged (data.similar_patients: equal)."
    return merged, (note,)

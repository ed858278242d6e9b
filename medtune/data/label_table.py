"""Findings of each image in a table: one column of 0 and 1 per finding, or one cell that lists them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from medtune.config.errors import InputError, set_option
from medtune.data.identifiers import squeeze
from medtune.data.sample import Sample

SHOWN = 3
# Labels that are no names of findings, as `squeeze` spells them.
NO_LABEL = {"none", "nofinding", "nofindings", "nothing", "no", "0"}
VALUES = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
# What else people separate labels by.
OTHER_SEPARATORS: tuple[str, ...] = ("|", ";", ",", "/", "+", "&")


def from_columns(samples: Sequence[Sample], columns: Mapping[str, str]) -> list[Sample]:
    """Samples whose findings are the columns with a 1.

    Args:
        samples: with the cells of the columns in `metadata`.
        columns: name of the column of each finding.

    Raises:
        InputError: cells that are neither 0 nor 1, counted by finding and value.
    """
    wrong: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    found = []
    for sample in samples:
        cells = {name: sample.metadata[column].strip() for name, column in columns.items()}
        values = {name: VALUES.get(cell.casefold()) for name, cell in cells.items()}
        for name, value in values.items():
            if value is None:
                wrong[name, cells[name]].append(sample.where)
        found.append(replace(sample, findings=tuple(name for name, value in values.items() if value)))
    if wrong:
        parts = [
            f"{name} is {'empty' if not cell else repr(cell)} in {len(places):,} of {len(samples):,} rows "
            f"({_first(places)})"
            for (name, cell), places in list(wrong.items())[:SHOWN]
        ]
        more = f"; and {len(wrong) - SHOWN:,} more" if len(wrong) > SHOWN else ""
        raise InputError(
            f"{'; '.join(parts)}{more}. Every finding needs 0 or 1 in each row: fill it in, or remove these rows or "
            "the finding from data.columns.labels"
        )
    return found


def from_cells(samples: Sequence[Sample], separator: str, no_finding: str) -> list[Sample]:
    """Samples whose findings are listed in their label.

    Args:
        samples: with the cell as `label`.
        separator: stands between two findings.
        no_finding: the cell of an image without findings, in any case.

    Raises:
        InputError: an empty name between separators, no finding beside a finding, or another separator throughout.
    """
    empty, both, found = [], [], []
    for sample in samples:
        names = [name.strip() for name in sample.label.split(separator)]
        findings = tuple(dict.fromkeys(name for name in names if squeeze(name) != squeeze(no_finding)))
        if not all(names):
            empty.append(sample)
        if findings and any(squeeze(name) == squeeze(no_finding) for name in names):
            both.append(sample)
        found.append(replace(sample, findings=findings))
    if empty:
        raise InputError(
            f"{_first([sample.where for sample in empty])}: label is {empty[0].label!r}, with an empty name beside "
            f"{separator!r} ({len(empty):,} rows). Remove the separator, or write {no_finding!r} for no finding"
        )
    if both:
        raise InputError(
            f"{_first([sample.where for sample in both])}: label is {both[0].label!r}, a finding and {no_finding!r} "
            f"({len(both):,} rows). Remove one of them"
        )
    _check_separator(samples, separator)
    _check_none(samples, no_finding)
    return found


def _check_none(samples: Sequence[Sample], no_finding: str) -> None:
    """Refuse labels that may mean no finding under another name."""
    counts = Counter(sample.label for sample in samples if squeeze(sample.label) in NO_LABEL)
    for label, count in counts.items():
        if squeeze(label) != squeeze(no_finding):
            raise InputError(
                f"data.no_finding={no_finding}: label is {label!r} in {count:,} rows. If it means that the image has "
                f"no finding, use {set_option('data.no_finding', label)}"
            )


def _check_separator(samples: Sequence[Sample], separator: str) -> None:
    """Refuse labels that another character separates."""
    cells = {sample.label for sample in samples}
    if any(separator in cell for cell in cells):
        return
    for other in OTHER_SEPARATORS:
        lists = [cell for cell in cells if other in cell]
        if any(part.strip() in cells for cell in lists for part in cell.split(other)):
            count = sum(sample.label in lists for sample in samples)
            raise InputError(
                f"data.label_separator={separator}: no label has it, but {count:,} have {other!r}, {min(lists)!r} for "
                f"example. Use {set_option('data.label_separator', other)}"
            )


def _first(places: Sequence[str]) -> str:
    return ", ".join(places[:SHOWN]) + (f" and {len(places) - SHOWN:,} more" if len(places) > SHOWN else "")

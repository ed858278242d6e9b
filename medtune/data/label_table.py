"""Findings of each image in a table: one column of 0 and 1 per finding, or one cell that lists them."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from medtune.config.errors import InputError, set_option
from medtune.data.identifiers import squeeze
from medtune.data.sample import Sample

SHOWN = 3
# Labels that are no names of findings, as `squeeze` spells them.
NO_LABEL = {
    "none", "nofinding", "nofindings", "nothing", "no", "0", "normal", "healthy", "negative", "unremarkable", "clear",
    "noabnormality", "nodisease", "withoutfinding", "withoutfindings", "ohnebefund", "o.b.", "unauffällig", "gesund",
}  # fmt: skip
VALUES = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
# What else people separate labels by.
OTHER_SEPARATORS: tuple[str, ...] = ("|", ";", ",", "/", "+", "&", "｜", "\\")
# Of these, what no name of a finding has.
PLAIN_SEPARATORS = ("|", ";", "｜", "\\")
# Words that join two findings.
_JOINING = ("and", "with", "und", "mit", "et", "avec", "y", "con", "e")


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


def from_cells(samples: Sequence[Sample], separator: str, no_finding: str, named: Collection[str] = ()) -> list[Sample]:
    """Samples whose findings are listed in their label.

    Args:
        samples: with the cell as `label`.
        separator: stands between two findings.
        no_finding: the cell of an image without findings, in any case.
        named: findings that the user names: they are never taken for lists or for no finding.

    Raises:
        InputError: an empty name between separators, no finding beside a finding, another separator, a list in
            brackets, or a name that means that there is no finding.
    """
    _check_brackets(samples)
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
    _check_separator(samples, separator, no_finding, named)
    _check_none(found, no_finding, named)
    _check_joined(found, separator, named)
    return found


def _check_brackets(samples: Sequence[Sample]) -> None:
    """Refuse lists as Python and JSON write them."""
    lists = [sample for sample in samples if re.fullmatch(r"\[.*\]|\{.*\}", sample.label.strip(), re.DOTALL)]
    if lists:
        example = max((sample.label for sample in lists), key=len)
        raise InputError(
            f"{_first([sample.where for sample in lists])}: label is {example!r}, a list in brackets ({len(lists):,} "
            "rows). Write the findings without brackets and quotes: mass|edema"
        )


def _check_none(samples: Sequence[Sample], no_finding: str, named: Collection[str]) -> None:
    """Refuse findings that may mean no finding under another name."""
    counts = Counter(name for sample in samples for name in sample.labels if squeeze(name) in NO_LABEL)
    for label, count in counts.items():
        if squeeze(label) != squeeze(no_finding) and label not in named:
            raise InputError(
                f"data.no_finding={no_finding}: label is {label!r} in {count:,} rows. If it means that the image has "
                f"no finding, use {set_option('data.no_finding', label)}; if it is a finding, name every finding in "
                "data.class_names"
            )


def _check_separator(samples: Sequence[Sample], separator: str, no_finding: str, named: Collection[str]) -> None:
    """Refuse labels that another character separates."""
    cells = {sample.label for sample in samples if sample.label not in named}
    if any(separator in cell for cell in cells):
        return
    without = {cell for cell in cells if squeeze(cell) != squeeze(no_finding)}
    for other in OTHER_SEPARATORS:
        lists = [cell for cell in without if other in cell]
        known = any(part.strip() in cells for cell in lists for part in cell.split(other))
        if lists and (known or other in PLAIN_SEPARATORS or len(lists) == len(without)):
            count = sum(sample.label in lists for sample in samples)
            raise InputError(
                f"data.label_separator={separator}: no label has it, but {count:,} have {other!r}, {min(lists)!r} for "
                f"example. Use {set_option('data.label_separator', other)}, or if these are names of findings, name "
                "every finding in data.class_names"
            )


def _check_joined(samples: Sequence[Sample], separator: str, named: Collection[str]) -> None:
    """Refuse a finding that consists of others: a list in which something else than the separator stands."""
    counts = Counter(name for sample in samples for name in sample.labels)
    by_words = {_words(name): name for name in counts}
    for name, count in counts.items():
        parts = None if name in named else _divide(_words(name), by_words)
        if parts:
            raise InputError(
                f"data.label_separator={separator}: label {name!r} ({count:,} images) consists of the findings "
                f"{' and '.join(map(repr, parts))}. Write {separator!r} between them in every row, or if it is a "
                "finding of its own, name every finding in data.class_names"
            )


def _words(name: str) -> tuple[str, ...]:
    return tuple(word for word in re.findall(r"\w+", name.casefold()) if word not in _JOINING)


def _divide(words: tuple[str, ...], known: Mapping[tuple[str, ...], str]) -> list[str] | None:
    """Two or more of the known findings that make up these words; None where there are none."""
    best: list[list[str] | None] = [[], *[None] * len(words)]
    for end in range(1, len(words) + 1):
        for start in range(end):
            before, part = best[start], words[start:end]
            if before is not None and part in known and part != words:
                best[end] = [*before, known[part]]
    return best[-1] or None


def _first(places: Sequence[str]) -> str:
    return ", ".join(places[:SHOWN]) + (f" and {len(places) - SHOWN:,} more" if len(places) > SHOWN else "")

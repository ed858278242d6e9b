"""Findings per image from a table: one column of 0 and 1 per finding, or one cell that lists them."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from medtune.config.errors import InputError, pluralize, set_option
from medtune.data.identifiers import squeeze
from medtune.data.sample import Sample

# Examples in a message.
SHOWN = 3
# Labels that mean "no finding", in the form that `squeeze` returns.
NO_LABEL = {
    "none", "nofinding", "nofindings", "nothing", "no", "0", "normal", "healthy", "negative", "unremarkable", "clear",
    "noabnormality", "nodisease", "withoutfinding", "withoutfindings", "ohnebefund", "o.b.", "unauffällig", "gesund",
}  # fmt: skip
VALUES = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
# Common separators. They reveal a table whose separator is not `data.label_separator`.
OTHER_SEPARATORS: tuple[str, ...] = ("|", ";", ",", "/", "+", "&", "｜", "\\")
# Common separators that never occur in the name of a finding.
PLAIN_SEPARATORS = ("|", ";", "｜", "\\")
# Words between two findings.
_JOINING = ("and", "with", "und", "mit", "et", "avec", "y", "con", "e")


def from_columns(samples: Sequence[Sample], columns: Mapping[str, str]) -> list[Sample]:
    """Set the findings of each sample from one column of 0 and 1 per finding.

    Args:
        samples: samples with the cells of the columns in `metadata`.
        columns: name of the column, by finding.

    Returns:
        The samples with findings, in the same order.

    Raises:
        InputError: a cell is neither 0 nor 1. The message counts the cells per finding and value.
    """
    invalid: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    labeled = []
    for sample in samples:
        cells = {name: sample.metadata[column].strip() for name, column in columns.items()}
        values = {name: VALUES.get(cell.casefold()) for name, cell in cells.items()}
        for name, value in values.items():
            if value is None:
                invalid[name, cells[name]].append(sample.where)
        labeled.append(replace(sample, findings=tuple(name for name, value in values.items() if value)))
    if invalid:
        parts = [
            f"{name} is {'empty' if not cell else repr(cell)} in {len(locations):,} of {len(samples):,} rows "
            f"({_first(locations)})"
            for (name, cell), locations in list(invalid.items())[:SHOWN]
        ]
        more = f"; and {len(invalid) - SHOWN:,} more" if len(invalid) > SHOWN else ""
        raise InputError(
            f"{'; '.join(parts)}{more}. Every finding needs 0 or 1 in each row. Fill in the cells, remove these rows, "
            "or remove the finding from data.columns.labels"
        )
    return labeled


def from_cells(samples: Sequence[Sample], separator: str, no_finding: str, named: Collection[str] = ()) -> list[Sample]:
    """Set the findings of each sample from one cell that lists them.

    Args:
        samples: samples with the cell as `label`.
        separator: separator between two findings.
        no_finding: cell of an image without findings. Case and blanks are ignored.
        named: findings that the user listed. The checks always accept these names.

    Returns:
        The samples with findings, in the same order.

    Raises:
        InputError: a cell has an empty name, a finding together with `no_finding`, another separator, brackets, or a
            name that usually means "no finding".
    """
    _check_brackets(samples)
    empty, both, labeled = [], [], []
    for sample in samples:
        names = [name.strip() for name in sample.label.split(separator)]
        findings = tuple(dict.fromkeys(name for name in names if squeeze(name) != squeeze(no_finding)))
        if not all(names):
            empty.append(sample)
        if findings and any(squeeze(name) == squeeze(no_finding) for name in names):
            both.append(sample)
        labeled.append(replace(sample, findings=findings))
    if empty:
        raise InputError(
            f"{_first([sample.where for sample in empty])}: label is {empty[0].label!r}, with an empty name next to "
            f"{separator!r} ({pluralize(len(empty), 'row')}). Remove the separator, or write {no_finding!r} "
            "for no finding"
        )
    if both:
        raise InputError(
            f"{_first([sample.where for sample in both])}: label is {both[0].label!r}, a finding and {no_finding!r} "
            f"({pluralize(len(both), 'row')}). Remove one of them"
        )
    _check_separator(samples, separator, no_finding, named)
    _check_none(labeled, no_finding, named)
    _check_joined(labeled, separator, named)
    return labeled


def _check_brackets(samples: Sequence[Sample]) -> None:
    """Reject labels that are Python or JSON lists."""
    lists = [sample for sample in samples if re.fullmatch(r"\[.*\]|\{.*\}", sample.label.strip(), re.DOTALL)]
    if lists:
        example = max((sample.label for sample in lists), key=len)
        raise InputError(
            f"{_first([sample.where for sample in lists])}: label is {example!r}, a list in brackets ({len(lists):,} "
            "rows). Write the findings without brackets and quotes: mass|edema"
        )


def _check_none(samples: Sequence[Sample], no_finding: str, named: Collection[str]) -> None:
    """Reject findings whose names usually mean "no finding"."""
    counts = Counter(name for sample in samples for name in sample.labels if squeeze(name) in NO_LABEL)
    for label, count in counts.items():
        if squeeze(label) != squeeze(no_finding) and label not in named:
            raise InputError(
                f"data.no_finding={no_finding}: label is {label!r} in {pluralize(count, 'row')}. If it means "
                "that the image has "
                f"no finding, use {set_option('data.no_finding', label)}; if it is a finding, list every finding in "
                "data.class_names"
            )


def _check_separator(samples: Sequence[Sample], separator: str, no_finding: str, named: Collection[str]) -> None:
    """Reject another common separator, if no label contains `separator`."""
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
                f"data.label_separator={separator}: no label contains it, but {count:,} contain {other!r}, for example "
                f"{min(lists)!r}. Use {set_option('data.label_separator', other)}, or if these are names of findings, "
                "list every finding in data.class_names"
            )


def _check_joined(samples: Sequence[Sample], separator: str, named: Collection[str]) -> None:
    """Reject a finding whose name consists of the names of other findings, because it is probably a list."""
    counts = Counter(name for sample in samples for name in sample.labels)
    by_words = {_words(name): name for name in counts}
    for name, count in counts.items():
        parts = None if name in named else _divide(_words(name), by_words)
        if parts:
            raise InputError(
                f"data.label_separator={separator}: label {name!r} ({pluralize(count, 'image')}) consists of "
                "the findings "
                f"{' and '.join(map(repr, parts))}. Write {separator!r} between them in every row, or if it is a "
                "separate finding, list every finding in data.class_names"
            )


def _words(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case, without joining words such as "and"."""
    return tuple(word for word in re.findall(r"\w+", name.casefold()) if word not in _JOINING)


def _divide(words: tuple[str, ...], known: Mapping[tuple[str, ...], str]) -> list[str] | None:
    """Return two or more known findings that together consist of these words, or None."""
    best: list[list[str] | None] = [[], *[None] * len(words)]
    for end in range(1, len(words) + 1):
        for start in range(end):
            before, part = best[start], words[start:end]
            if before is not None and part in known and part != words:
                best[end] = [*before, known[part]]
    return best[-1] or None


def _first(locations: Sequence[str]) -> str:
    """Join the first locations, and add the number of the others."""
    return ", ".join(locations[:SHOWN]) + (f" and {len(locations) - SHOWN:,} more" if len(locations) > SHOWN else "")

"""What a table in a folder of images says: columns, classes, patients and paths."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from medtune.cli import detect_labels
from medtune.cli.detect_columns import path_column, patient_columns
from medtune.cli.detected import DetectedData
from medtune.cli.patients import suggest
from medtune.config.errors import InputError
from medtune.data import columns
from medtune.data.identifiers import is_missing
from medtune.data.listing import scan_root
from medtune.data.table import SUFFIXES, Table, read_table
from medtune.data.table_paths import ImageFiles


def find_table(root: Path, detected: DetectedData) -> Table | None:
    """The first table in `root` with a path and a label under some name, else with one of them.

    Args:
        root: the data root.
        detected: gets warnings about tables that cannot be read or could be meant too.
    """
    complete: list[Table] = []
    partial: list[Table] = []
    broken: list[str] = []
    for file in sorted(path for path in root.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()):
        if file.name.startswith((".", "~$")):  # not the user's
            continue
        try:
            table = read_table(file, columns.KNOWN)
            found = [what for what in ("path", "label") if _column(table, what) is not None]
        except InputError as error:
            if file.suffix.lower() != ".txt":  # a text is rarely meant as a table
                detected.warnings.append(str(error))
                broken.append(file.name)
            continue
        if found:
            (complete if len(found) == 2 else partial).append(table)
    if len(complete) > 1:
        names = ", ".join(table.name for table in complete[1:])
        detected.warnings.append(
            f"{complete[0].name} is used; {names} could be meant too. Set data.csv to the right one"
        )
    if broken and not complete and not partial:
        detected.settings["data.csv"] = broken[0]
    return next(iter([*complete, *partial]), None)


def read_named(file: Path) -> Table:
    """The table that the user named.

    Raises:
        InputError: it cannot be read, or has neither a path nor a label.
    """
    table = read_table(file, columns.KNOWN)
    if all(_column(table, what) is None for what in ("path", "label")):
        shown = ", ".join(table.columns)
        raise InputError(f"--data={file}: no column path or label; columns: {shown}. Rename the two columns to these")
    return table


def _column(table: Table, what: str) -> int | None:
    """Position of the column path, label or group, under its own or another common name."""
    position = columns.find_column(table, what)
    other = columns.similar_column(table, what)
    return table.columns.index(other) if position is None and other is not None else position


def by_table(table: Table, root: Path, images: list[str], detected: DetectedData) -> None:
    """Add what follows from a table: columns, classes, patients and where its images are.

    Args:
        table: from `find_table`.
        root: the data root.
        images: image files, relative to it.
        detected: gets settings, findings and warnings.
    """
    detected.settings = {"data.source": "folder", "data.csv": table.name}
    shown = ", ".join(table.columns)
    detected.findings.append(("table", f"{table.name}: {len(table.rows):,} rows, columns {shown}"))
    detected.findings += [("note", note) for note in table.notes]
    cells: dict[str, list[str]] = {}
    known = {what: position for what in columns.ALIASES if (position := _column(table, what)) is not None}
    if "path" not in known and (found := path_column(table, root, known.values())):
        known["path"] = table.columns.index(found)
    several = [] if "label" in known else detect_labels.finding_columns(table, set(known.values()))
    for what in columns.ALIASES:
        position = known.get(what)
        if position is None and what == "label" and several:
            detect_labels.set_columns(several, table, detected)
            continue
        if position is None:
            if what != "group":
                detected.warnings.append(
                    f"{table.name}: no column {what}. Name it with medtune params set data.columns.{what}=NAME"
                )
                detected.commands.append(f"medtune params set data.columns.{what}=NAME")
            continue
        name = table.columns[position]
        if columns.casefold_name(name) != what:
            detected.settings[f"data.columns.{what}"] = name
            detected.findings.append((what, f"column {name}"))
        cells[what] = [row[position].strip() for _, row in table.rows]
    if "path" in cells and not any((root / path).is_file() for path in cells["path"]):
        if pattern := ImageFiles(root, scan_root(root)).common_format(cells["path"]):
            detected.settings["data.path_format"] = pattern
            detected.findings.append(("files", pattern))
        else:
            detected.warnings.append(f"{table.name}: the column {table.columns[known['path']]} names no file")
    if "label" in cells and not detect_labels.set_lists(cells["label"], detected):
        detected.findings.append(("classes", class_counts(iter(cells["label"]))))
        detected.classes = tuple(sorted({label for label in cells["label"] if not is_missing(label)}))
    if "group" in cells:
        patients = len(set(cells["group"]))
        detected.findings.append(
            ("patients", f"{patients:,}, in the column {detected.settings.get('data.columns.group', 'group')}")
        )
        labels = cells.get("label") if "task.kind" not in detected.settings else None
        _folds(patients, fewest_patients(cells["group"], labels), detected)
    else:
        _suggest_patients(
            table, {*known.values(), *map(table.columns.index, several)}, detected, cells.get("path", images)
        )


def _suggest_patients(table: Table, used: Collection[int], detected: DetectedData, paths: list[str]) -> None:
    """Suggest a column of patients; a pattern in the file names only if no column is named like one."""
    named, others = patient_columns(table, used)
    if not named:
        if others:
            detected.warnings.append(
                f"{table.name}: if one of the columns {', '.join(others)} names the patients, set data.columns.group"
            )
        suggest(paths, detected)
        return
    more = f" ({', '.join(named[1:])} could be meant too)" if named[1:] else ""
    detected.warnings.append(
        f"patients are unknown; the column {named[0]!r} may name them{more}. If it does, set data.columns.group"
    )
    detected.commands.append(f"medtune params set {shlex.quote(f'data.columns.group={named[0]}')}")


def fewest_patients(groups: Sequence[str], labels: Sequence[str] | None) -> int:
    """Patients of the class that has the fewest; all patients where there are no labels."""
    by_class: defaultdict[str, set[str]] = defaultdict(set)
    for group, label in zip(groups, labels or [""] * len(groups), strict=True):
        by_class[label].add(group)
    return min(map(len, by_class.values()), default=0)


def _folds(patients: int, of_a_class: int, detected: DetectedData) -> None:
    if min(patients, of_a_class) < 5:
        detected.settings["data.split.folds"] = 3
    if patients < 3:
        detected.warnings.append(f"{patients} patients cannot be split into 3 folds")


def class_counts(labels: Iterable[str]) -> str:
    """Return the classes and their numbers of images as text."""
    counts = sorted(Counter(labels).items())
    shown = ", ".join(f"{name} {count:,}" for name, count in counts[:8])
    return f"{shown}, ... ({len(counts)} classes)" if len(counts) > 8 else shown

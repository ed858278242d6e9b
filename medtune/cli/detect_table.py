"""Detection of columns, classes, patients and paths in a table of images."""

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
from medtune.data.table import SUFFIXES, Table, check_rows, read_table
from medtune.data.table_paths import ImageFiles


def find_table(root: Path, detected: DetectedData) -> Table | None:
    """Find the table that describes the images.

    Args:
        root: data root.
        detected: result to extend with warnings about unreadable or ambiguous tables. If no table can be used, its
            setting `data.csv` becomes the name of the first unreadable table.

    Returns:
        The first table with a path column and a label column. If there is none, the first table with one of these
        columns. None if no table has either column.
    """
    complete: list[Table] = []
    partial: list[Table] = []
    broken: list[str] = []
    for file in sorted(path for path in root.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()):
        if file.name.startswith((".", "~$")):  # hidden, or a lock file of Excel
            continue
        try:
            table = read_table(file, columns.KNOWN)
            known = [key for key in ("path", "label") if _column(table, key) is not None]
        except InputError as error:
            if file.suffix.lower() != ".txt":  # a text file is rarely a table
                detected.warnings.append(str(error))
                broken.append(file.name)
            continue
        if known:
            (complete if len(known) == 2 else partial).append(table)
    if len(complete) > 1:
        names = ", ".join(table.name for table in complete[1:])
        detected.warnings.append(f"{complete[0].name} is used, but {names} could also be the table. Set data.csv")
    if broken and not complete and not partial:
        detected.settings["data.csv"] = broken[0]
    return next(iter([*complete, *partial]), None)


def has_column(table: Table, key: str) -> bool:
    """Return True if a table has the column `key`: path, label or patient. Common synonyms count too."""
    return _column(table, key) is not None


def read_named(file: Path) -> Table:
    """Read the table that the option --data names.

    Args:
        file: path of the table.

    Returns:
        The table.

    Raises:
        InputError: the file is not a readable table, or has neither a path column nor a label column.
    """
    table = read_table(file, columns.KNOWN)
    check_rows(table, f"--data={file}", "path,label", "image")
    if all(_column(table, key) is None for key in ("path", "label")):
        shown = ", ".join(table.columns)
        raise InputError(
            f"--data={file}: columns 'path' and 'label' are missing (columns: {shown}). Rename the column of image "
            "paths to path, and the column of labels to label"
        )
    return table


def _column(table: Table, key: str) -> int | None:
    """Return the position of the column `key`: path, label or patient. Common synonyms count too. None without it."""
    position = columns.find_column(table, key)
    if position is None and key in columns.EARLIER_NAMES:
        position = columns.find_column(table, columns.EARLIER_NAMES[key])
    synonym = columns.similar_column(table, key)
    return table.columns.index(synonym) if position is None and synonym is not None else position


def by_table(table: Table, root: Path, images: list[str], detected: DetectedData) -> None:
    """Replace the settings by those for a table. Add its findings, warnings, commands and classes.

    Args:
        table: result of `find_table` or `read_named`.
        root: data root.
        images: image files, relative to `root`.
        detected: result to extend.
    """
    detected.settings = {"data.source": "folder", "data.csv": table.name}
    shown = ", ".join(table.columns)
    detected.findings.append(("table", f"{table.name}: {len(table.rows):,} rows, columns {shown}"))
    detected.findings += [("note", note) for note in table.notes]
    cells: dict[str, list[str]] = {}
    known = {key: position for key in columns.ALIASES if (position := _column(table, key)) is not None}
    if "path" not in known and (name := path_column(table, root, known.values())):
        known["path"] = table.columns.index(name)
    label_columns = [] if "label" in known else detect_labels.finding_columns(table, set(known.values()))
    for key in columns.ALIASES:
        position = known.get(key)
        if position is None and key == "label" and label_columns:
            detect_labels.set_columns(label_columns, table, detected)
            continue
        if position is None:
            if key != "patient":
                detected.warnings.append(
                    f"{table.name}: column {key!r} is missing. Run `medtune params set data.columns.{key}=NAME`"
                )
                detected.commands.append(f"medtune params set data.columns.{key}=NAME")
            continue
        name = table.columns[position]
        earlier = columns.EARLIER_NAMES.get(key)
        if columns.casefold_name(name) != key or (earlier and columns.find_column(table, earlier) is not None):
            detected.settings[f"data.columns.{key}"] = name
            detected.findings.append((key, f"column {name}"))
        cells[key] = [row[position].strip() for _, row in table.rows]
    if "path" in cells and not any((root / path).is_file() for path in cells["path"]):
        if pattern := ImageFiles(root, scan_root(root)).common_format(cells["path"]):
            detected.settings["data.path_format"] = pattern
            detected.findings.append(("files", pattern))
        else:
            detected.warnings.append(f"{table.name}: none of the paths in column {table.columns[known['path']]} exists")
    if "label" in cells and not detect_labels.set_lists(cells["label"], detected):
        detected.findings.append(("classes", class_counts(iter(cells["label"]))))
        detected.classes = tuple(sorted({label for label in cells["label"] if not is_missing(label)}))
    if "patient" in cells:
        n_patients = len(set(cells["patient"]))
        detected.findings.append(("patients", f"{n_patients:,}, in column {table.columns[known['patient']]}"))
        labels = cells.get("label") if "task.kind" not in detected.settings else None
        _choose_number_of_folds(n_patients, fewest_patients(cells["patient"], labels), detected)
    else:
        _suggest_patients(
            table, {*known.values(), *map(table.columns.index, label_columns)}, detected, cells.get("path", images)
        )


def _suggest_patients(table: Table, used: Collection[int], detected: DetectedData, paths: list[str]) -> None:
    """Suggest a column of patients. If no column name refers to patients, suggest a pattern in the file names."""
    named, others = patient_columns(table, used)
    if not named:
        if others:
            detected.warnings.append(
                f"{table.name}: if one of the columns {', '.join(others)} contains patient ids, "
                "set data.columns.patient"
            )
        suggest(paths, detected)
        return
    more = f" (other candidates: {', '.join(named[1:])})" if named[1:] else ""
    detected.warnings.append(
        f"patients are unknown, but column {named[0]!r} may contain patient ids{more}. If so, set data.columns.patient"
    )
    detected.commands.append(f"medtune params set {shlex.quote(f'data.columns.patient={named[0]}')}")


def fewest_patients(patients: Sequence[str], labels: Sequence[str] | None) -> int:
    """Return the number of patients in the class with the fewest; without labels, the number of all patients.

    Args:
        patients: patient of each image.
        labels: label of each image; None without labels.
    """
    by_class: defaultdict[str, set[str]] = defaultdict(set)
    for patient, label in zip(patients, labels or [""] * len(patients), strict=True):
        by_class[label].add(patient)
    return min(map(len, by_class.values()), default=0)


def _choose_number_of_folds(n_patients: int, fewest_per_class: int, detected: DetectedData) -> None:
    """Set 3 folds if there are fewer than 5 patients in total or in a class. Warn if 3 folds are not possible."""
    if min(n_patients, fewest_per_class) < 5:
        detected.settings["data.split.folds"] = 3
    if n_patients < 3:
        detected.warnings.append(f"{n_patients} patients are too few for 3 folds. Add patients")


def class_counts(labels: Iterable[str]) -> str:
    """Return the classes with their numbers of images as text."""
    counts = sorted(Counter(labels).items())
    shown = ", ".join(f"{name} {count:,}" for name, count in counts[:8])
    return f"{shown}, ... ({len(counts)} classes)" if len(counts) > 8 else shown

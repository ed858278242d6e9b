"""Patients by a pattern on the path, and what a table says of them beside it."""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from medtune.config.errors import InputError, set_option
from medtune.data import columns
from medtune.data.identifiers import is_missing
from medtune.data.sample import Sample
from medtune.data.table import Table
from medtune.serving.folder_scan import printable


def with_patient(sample: Sample, pattern: str) -> Sample:
    """The sample with the patient that `data.patient_pattern` finds in its path.

    Raises:
        InputError: it finds none.
    """
    match = re.search(pattern, sample.path)
    if match is None or not match[1]:
        raise InputError(f"{printable(sample.path)}: data.patient_pattern {pattern!r} finds no patient in it")
    return replace(sample, patient_id=match[1])


def check_pattern(pattern: str, table: Table, found: Collection[str], samples: Sequence[Sample]) -> None:
    """Refuse a pattern beside a table that names the patients: one of the two would silently decide the split.

    Args:
        pattern: `data.patient_pattern`.
        table: the table.
        found: meanings that its columns have; `group` if one of them names the patients.
        samples: of its rows, with the cells of other columns as metadata.

    Raises:
        InputError: the table has the column of patients, or the pattern divides a patient of a column that is named
            like one.
    """
    without = set_option("data.patient_pattern", None)
    if "group" in found:
        raise InputError(
            f"data.patient_pattern={pattern}: {table.name} names the patients. Use the table with {without}"
        )
    other = columns.similar_column(table, "group")
    if other is None:
        return
    by_cell: defaultdict[str, set[str | None]] = defaultdict(set)
    for sample in samples:
        if not is_missing(cell := sample.metadata[other].strip()):
            by_cell[cell].add(with_patient(sample, pattern).patient_id)
    if divided := [cell for cell, patients in by_cell.items() if len(patients) > 1]:
        raise InputError(
            f"data.patient_pattern={pattern}: it makes several patients of {len(divided):,} in the column {other} of "
            f"{table.name}, {divided[0]!r} first. Use the column with {without} "
            f"{set_option('data.columns.group', other)}, or rename it if it does not name patients"
        )

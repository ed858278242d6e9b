"""Patients from a regular expression for the path (`data.patient_pattern`), and its comparison with a table."""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

from medtune.config.errors import InputError, pluralize, set_option
from medtune.data import columns
from medtune.data.identifiers import is_missing
from medtune.data.sample import Sample
from medtune.data.table import Table
from medtune.serving.folder_scan import printable


def check_regex(pattern: str | None) -> str | None:
    """Check that a pattern is a regular expression with a group.

    Args:
        pattern: `data.patient_pattern`; None is valid.

    Returns:
        The pattern.

    Raises:
        ValueError: the pattern is not a regular expression, or has no group.
    """
    if pattern is not None:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if not groups:
            raise ValueError("it has no group. Put (...) around the part of the path that is the patient")
    return pattern


def with_patient(sample: Sample, pattern: str) -> Sample:
    """Set the patient of a sample by a regular expression for its path.

    Args:
        sample: the sample.
        pattern: `data.patient_pattern`, whose first group matches the patient.

    Returns:
        The sample with its patient.

    Raises:
        InputError: the pattern does not match, or the group is empty.
    """
    match = re.search(pattern, sample.path)
    if match is None or not match[1]:
        raise InputError(
            f"data.patient_pattern={pattern}: finds no patient in {printable(sample.path)}. Change the pattern, or "
            "move or rename the file"
        )
    return replace(sample, patient_id=match[1])


def check_pattern(pattern: str, table: Table, found: Collection[str], samples: Sequence[Sample]) -> None:
    """Reject a pattern if the table also names the patients.

    Args:
        pattern: `data.patient_pattern`.
        table: the table.
        found: default names of the columns that are used (path, label, patient, split).
        samples: samples of the rows, with the cells of other columns as metadata.

    Raises:
        InputError: the table has a column of patients. Also if the name of another column suggests patients, and the
            pattern divides the images with one value in this column into several patients.
    """
    without = set_option("data.patient_pattern", None)
    if "patient" in found:
        raise InputError(
            f"data.patient_pattern={pattern}: {table.name} already names the patients. Use the table with {without}"
        )
    other = columns.similar_column(table, "patient")
    if other is None:
        return
    by_cell: defaultdict[str, set[str | None]] = defaultdict(set)
    for sample in samples:
        if not is_missing(cell := sample.metadata[other].strip()):
            by_cell[cell].add(with_patient(sample, pattern).patient_id)
    if divided := [cell for cell, patients in by_cell.items() if len(patients) > 1]:
        raise InputError(
            f"data.patient_pattern={pattern}: divides {pluralize(len(divided), 'patient')} in the column "
            f"{other} of {table.name} "
            f"into several, for example {divided[0]!r}. Use the column with {without} "
            f"{set_option('data.columns.patient', other)}, or rename it if it does not name patients"
        )

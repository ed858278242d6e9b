"""Folds of the patients in data/folds.csv, so that patients keep their fold when data are added.

If a patient moved to another fold, a test patient of a new model could be a training patient of an earlier model. The
comparison of both models would then be unfair. git tracks the file, so it contains hashes instead of patients.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from medtune.config.errors import InputError
from medtune.runtime.artifact import write_text
from medtune.runtime.paths import RunPaths
from medtune.serving.checksum import ChecksumError, add_text_checksum, strip_text_checksum

FILE = "folds.csv"
COLUMNS = ("patient", "fold")
EARLIER_COLUMNS = ("group", "fold")
CHECKSUM_PREFIX = "# sha256 of what follows: %s"


@dataclass(frozen=True)
class FoldAssignments:
    """Recorded folds of the patients.

    Attributes:
        source: data source. The hash of a patient includes the source and the number of folds, so that data sets do
            not mix.
        n_folds: number of folds.
        fold_by_hash: fold by hash of the patient, for all data sets in the file.
    """

    source: str
    n_folds: int
    fold_by_hash: Mapping[str, int] = field(default_factory=dict)

    def lookup(self, patient_ids: Iterable[str]) -> dict[str, int]:
        """Return the recorded fold by patient, without patients that have none."""
        known = {patient_id: self.fold_by_hash.get(self._hash(patient_id)) for patient_id in set(patient_ids)}
        return {patient_id: fold for patient_id, fold in known.items() if fold is not None and 0 <= fold < self.n_folds}

    def is_consistent_with(self, patient_ids: Iterable[str], folds: Iterable[int]) -> bool:
        """Return True if every patient with a recorded fold has this fold."""
        given = {str(patient_id): int(fold) for patient_id, fold in zip(patient_ids, folds, strict=True)}
        return all(given[patient_id] == fold for patient_id, fold in self.lookup(given).items())

    def write(self, path: Path, patient_ids: Iterable[str], folds: Iterable[int]) -> bool:
        """Write the file with additional patients. Return False, without writing, if all of them are recorded."""
        new = {self._hash(str(patient_id)): int(fold) for patient_id, fold in zip(patient_ids, folds, strict=True)}
        rows = {**new, **self.fold_by_hash}  # recorded folds do not change
        if rows == dict(self.fold_by_hash):
            return False
        lines = [",".join(COLUMNS), *(f"{patient_id},{fold}" for patient_id, fold in sorted(rows.items()))]
        body = "\n".join(lines) + "\n"
        write_text(path, add_text_checksum(body, CHECKSUM_PREFIX))
        return True

    def _hash(self, patient_id: str) -> str:
        return hashlib.sha256(f"{self.source}\n{self.n_folds}\n{patient_id}".encode()).hexdigest()[:20]


def assignments_path(paths: RunPaths) -> Path:
    """Return the path of folds.csv in the output folder of a run."""
    return paths.out / "data" / FILE


def read_assignments(path: Path, source: str, n_folds: int) -> FoldAssignments:
    """Read the folds of one source.

    Args:
        path: the file, which may not exist.
        source: data source.
        n_folds: number of folds.

    Returns:
        The recorded folds, empty if there is no file.

    Raises:
        InputError: the file is not a table of patients and folds, or was changed after MedTune wrote it.
    """
    if not path.is_file():
        return FoldAssignments(source, n_folds)
    text, restore = path.read_bytes().decode("utf-8", "replace"), f"Restore it with git checkout {path.name}"
    if text.startswith(CHECKSUM_PREFIX[:2]):
        try:
            text = strip_text_checksum(text, CHECKSUM_PREFIX)
        except ChecksumError:
            raise InputError(
                f"{path}: changed after it was written. {restore}, or if you merged it yourself, remove its first line"
            ) from None
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) == EARLIER_COLUMNS:
        reader.fieldnames = list(COLUMNS)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise InputError(f"{path}: the columns are {reader.fieldnames}; expected {', '.join(COLUMNS)}. {restore}")
    try:
        rows = {row["patient"]: int(row["fold"]) for row in reader}
    except (TypeError, ValueError):
        raise InputError(f"{path} line {reader.line_num}: fold is not an integer. {restore}") from None
    return FoldAssignments(source, n_folds, rows)

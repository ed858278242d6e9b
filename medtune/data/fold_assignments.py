"""Assignment of patients to folds in data/folds.csv. Patients keep their fold when data are added.

A new assignment would move patients between folds. A model would then be compared with an earlier model on patients
that the earlier model was trained on. The file contains hashes of the patients, because git tracks it.
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
    """Assignment of patients to folds.

    Attributes:
        source: data source. Source and number of folds are part of the hash, so that assignments of different data sets
            do not mix.
        n_folds: number of folds.
        fold_by_hash: fold by hashed patient, for all data sets in the file.
    """

    source: str
    n_folds: int
    fold_by_hash: Mapping[str, int] = field(default_factory=dict)

    def lookup(self, patient_ids: Iterable[str]) -> dict[str, int]:
        """Return the fold by patient, for those patients that have a fold."""
        known = {patient_id: self.fold_by_hash.get(self._hash(patient_id)) for patient_id in set(patient_ids)}
        return {patient_id: fold for patient_id, fold in known.items() if fold is not None and 0 <= fold < self.n_folds}

    def is_consistent_with(self, patient_ids: Iterable[str], folds: Iterable[int]) -> bool:
        """Return True if these folds do not contradict the recorded folds."""
        given = {str(patient_id): int(fold) for patient_id, fold in zip(patient_ids, folds, strict=True)}
        return all(given[patient_id] == fold for patient_id, fold in self.lookup(given).items())

    def write(self, path: Path, patient_ids: Iterable[str], folds: Iterable[int]) -> bool:
        """Add patients and their folds to the file; return False if it already contains them."""
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
    """Return the path of the file in an output folder. In the project folder, git tracks it."""
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
        InputError: the file is not a table of patient and fold, or was changed.
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

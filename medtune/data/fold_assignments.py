"""data/folds.csv: the fold each patient was dealt to, kept while the data grow.

Dealing anew whenever images arrive would move patients between folds: a model would then be compared with an
earlier one on patients that the earlier one was trained on. Names are hashed, since the file is in git.
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
COLUMNS = ("group", "fold")
CHECKSUM_PREFIX = "# sha256 of what follows: %s"


@dataclass(frozen=True)
class FoldAssignments:
    """Folds of an earlier deal.

    Attributes:
        source: data source; a name is hashed with it and the number of folds, so that sets do not mix.
        n_folds: number of folds.
        fold_by_hash: hashed group to fold, of every set that was ever recorded.
    """

    source: str
    n_folds: int
    fold_by_hash: Mapping[str, int] = field(default_factory=dict)

    def lookup(self, patient_ids: Iterable[str]) -> dict[str, int]:
        """Fold by name, of those groups that have one."""
        known = {patient_id: self.fold_by_hash.get(self._hash(patient_id)) for patient_id in set(patient_ids)}
        return {patient_id: fold for patient_id, fold in known.items() if fold is not None and 0 <= fold < self.n_folds}

    def is_consistent_with(self, patient_ids: Iterable[str], folds: Iterable[int]) -> bool:
        """True where every group that has a fold here has the same one there."""
        given = {str(patient_id): int(fold) for patient_id, fold in zip(patient_ids, folds, strict=True)}
        return all(given[patient_id] == fold for patient_id, fold in self.lookup(given).items())

    def write(self, path: Path, patient_ids: Iterable[str], folds: Iterable[int]) -> bool:
        """Adds groups and their folds to the file; False where it held them already."""
        new = {self._hash(str(patient_id)): int(fold) for patient_id, fold in zip(patient_ids, folds, strict=True)}
        rows = {**new, **self.fold_by_hash}  # what was dealt once stays
        if rows == dict(self.fold_by_hash):
            return False
        lines = [",".join(COLUMNS), *(f"{patient_id},{fold}" for patient_id, fold in sorted(rows.items()))]
        body = "\n".join(lines) + "\n"
        write_text(path, add_text_checksum(body, CHECKSUM_PREFIX))
        return True

    def _hash(self, patient_id: str) -> str:
        return hashlib.sha256(f"{self.source}\n{self.n_folds}\n{patient_id}".encode()).hexdigest()[:20]


def assignments_path(paths: RunPaths) -> Path:
    """The file of an output folder; the checkout's is tracked by git."""
    return paths.out / "data" / FILE


def read_assignments(path: Path, source: str, n_folds: int) -> FoldAssignments:
    """What the file says of one source; nothing where there is no file.

    Raises:
        InputError: it is not a table of group and fold, or not what was written.
    """
    if not path.is_file():
        return FoldAssignments(source, n_folds)
    text = path.read_bytes().decode("utf-8", "replace")
    if text.startswith(CHECKSUM_PREFIX[:2]):
        try:
            text = strip_text_checksum(text, CHECKSUM_PREFIX)
        except ChecksumError:
            raise InputError(
                f"{path} was changed since it was written: git checkout {path.name}; or, where it was merged by hand, "
                "take its first line away and it is taken as it is"
            ) from None
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise InputError(f"{path}: its columns are {reader.fieldnames}; expected {', '.join(COLUMNS)}")
    try:
        rows = {row["group"]: int(row["fold"]) for row in reader}
    except (TypeError, ValueError):
        raise InputError(f"{path} line {reader.line_num}: fold is not a whole number") from None
    return FoldAssignments(source, n_folds, rows)

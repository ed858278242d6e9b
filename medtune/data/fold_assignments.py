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
from medtune.runtime.paths import Paths
from medtune.serving.checksum import Damaged, seal_text, unseal_text

FILE = "folds.csv"
COLUMNS = ("group", "fold")
SEAL = "# sha256 of what follows: %s"


@dataclass(frozen=True)
class KeptFolds:
    """Folds of an earlier deal.

    Attributes:
        source: data source; a name is hashed with it and the number of folds, so that sets do not mix.
        folds: number of folds.
        rows: hashed group to fold, of every set that was ever recorded.
    """

    source: str
    folds: int
    rows: Mapping[str, int] = field(default_factory=dict)

    def of(self, groups: Iterable[str]) -> dict[str, int]:
        """Fold by name, of those groups that have one."""
        found = {group: self.rows.get(self._hashed(group)) for group in set(groups)}
        return {group: fold for group, fold in found.items() if fold is not None and 0 <= fold < self.folds}

    def agree(self, groups: Iterable[str], folds: Iterable[int]) -> bool:
        """True where every group that has a fold here has the same one there."""
        there = {str(group): int(fold) for group, fold in zip(groups, folds, strict=True)}
        return all(there[group] == fold for group, fold in self.of(there).items())

    def write(self, path: Path, groups: Iterable[str], folds: Iterable[int]) -> bool:
        """Adds groups and their folds to the file; False where it held them already."""
        new = {self._hashed(str(group)): int(fold) for group, fold in zip(groups, folds, strict=True)}
        rows = {**new, **self.rows}  # what was dealt once stays
        if rows == dict(self.rows):
            return False
        lines = [",".join(COLUMNS), *(f"{group},{fold}" for group, fold in sorted(rows.items()))]
        body = "\n".join(lines) + "\n"
        write_text(path, seal_text(body, SEAL))
        return True

    def _hashed(self, group: str) -> str:
        return hashlib.sha256(f"{self.source}\n{self.folds}\n{group}".encode()).hexdigest()[:20]


def place(paths: Paths) -> Path:
    """The file of an output folder; the checkout's is tracked by git."""
    return paths.out / "data" / FILE


def read(path: Path, source: str, folds: int) -> KeptFolds:
    """What the file says of one source; nothing where there is no file.

    Raises:
        InputError: it is not a table of group and fold, or not what was written.
    """
    if not path.is_file():
        return KeptFolds(source, folds)
    text = path.read_bytes().decode("utf-8", "replace")
    if text.startswith(SEAL[:2]):
        try:
            text = unseal_text(text, SEAL)
        except Damaged:
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
    return KeptFolds(source, folds, rows)

"""Patterns of patient ids in file names. `medtune init` suggests a pattern, but never applies it."""

import re
import shlex
from typing import NamedTuple

from medtune.cli.detected import DetectedData

PATTERNS = (
    r"(?i)((?:patient|subject|case|pat|sub|slide)[-_ ]?\d+)",  # a word for a patient, then a number
    r"/(P\d+)[-_]",
    r"^[^/]+/([^/]+)/",  # one folder per patient in each class folder
    r"/([A-Za-z]*\d+)[-_][^/]*$",  # file name up to the first - or _
)


class FoundPattern(NamedTuple):
    """Pattern that finds a plausible patient id in every path.

    Attributes:
        pattern: regular expression. Its first group is the id.
        n_ids: number of distinct ids.
        example: one of the ids.
    """

    pattern: str
    n_ids: int
    example: str


def find_pattern(paths: list[str]) -> FoundPattern | None:
    """Return the first pattern that finds a plausible patient id in every path, or None."""
    for pattern in PATTERNS:
        if count := _patients(pattern, paths):
            return FoundPattern(pattern, count, _example(pattern, paths))
    return None


def suggest(paths: list[str], detected: DetectedData) -> None:
    """Suggest the first pattern that finds a plausible patient id in every path.

    Args:
        paths: image files, relative to the data root.
        detected: result to extend with a warning and a command. If no pattern fits, they are about data without
            patients.
    """
    if found := find_pattern(paths):
        assignment = shlex.quote(f"data.patient_pattern={found.pattern}")
        detected.warnings.append(
            f"patients are unknown, but the file names contain {found.n_ids:,} possible patient ids, for example "
            f"{found.example}. If they are patients, set data.patient_pattern"
        )
        detected.commands.append(f"medtune params set {assignment}")
        return
    detected.warnings.append(
        "patients are unknown. Add a column patient or set data.patient_pattern. "
        "data.split.protocol=image needs no patients, but inflates scores"
    )
    detected.commands.append("medtune params set data.split.protocol=image")


def _patients(pattern: str, paths: list[str]) -> int:
    """Return the number of distinct ids. 0 if a path has no id, or if there are too few or too many ids."""
    matches = [re.search(pattern, path) for path in paths]
    if not paths or not all(matches):
        return 0
    count = len({match[1] for match in matches if match})
    return count if 3 <= count <= len(paths) / 2 else 0


def _example(pattern: str, paths: list[str]) -> str:
    match = re.search(pattern, paths[0])
    assert match is not None
    return match[1]

"""Patient ids in file names: patterns that are tried and suggested, never applied."""

import re
import shlex

from medtune.cli.detected import DetectedData

PATTERNS = (
    r"(?i)((?:patient|subject|case|pat|sub|slide)[-_ ]?\d+)",  # a word for it, then a number
    r"/(P\d+)[-_]",
    r"^[^/]+/([^/]+)/",  # one folder per patient in each class folder
    r"/([A-Za-z]*\d+)[-_][^/]*$",  # the part of the file name before the first - or _
)


def suggest(paths: list[str], detected: DetectedData) -> None:
    """Add the first pattern that finds a plausible patient id in every path, or what to do without one.

    Args:
        paths: image files, relative to the data root.
        detected: gets the warning and the commands.
    """
    for pattern in PATTERNS:
        if count := _patients(pattern, paths):
            assignment = shlex.quote(f"data.patient_pattern={pattern}")
            detected.warnings.append(
                f"patients are unknown; {count:,} ids look like patients in the file names, for example "
                f"{_example(pattern, paths)}. If they are, set data.patient_pattern"
            )
            detected.commands.append(f"medtune params set {assignment}")
            return
    detected.warnings.append(
        "patients are unknown. Name them in a column group or by data.patient_pattern; "
        "data.split.protocol=image splits without them, which favors the scores"
    )
    detected.commands.append("medtune params set data.split.protocol=image")


def _patients(pattern: str, paths: list[str]) -> int:
    """Distinct ids that the pattern finds; 0 unless every path has one and an id has two images on average."""
    matches = [re.search(pattern, path) for path in paths]
    if not paths or not all(matches):
        return 0
    count = len({match[1] for match in matches if match})
    return count if 3 <= count <= len(paths) / 2 else 0


def _example(pattern: str, paths: list[str]) -> str:
    match = re.search(pattern, paths[0])
    assert match is not None
    return match[1]

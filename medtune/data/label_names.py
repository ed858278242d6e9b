"""Names of the labels of masks."""

from collections.abc import Sequence

from medtune.data.identifiers import squeeze

# Masks are uint8. 0 is the background, and training ignores voxels with the value 255.
MAX_LABELS = 254
_BACKGROUND = {"background", "bg", "clearlabel", "unlabeled", "unlabelled"}


def is_background(name: str) -> bool:
    """Return True for a common name of the background."""
    return squeeze(name) in _BACKGROUND


def check_names(names: Sequence[str]) -> str:
    """Check the names of labels.

    Args:
        names: names of the labels 1, 2, ..., without the background.

    Returns:
        The first problem and its fix: an empty name, a name of the background, or names that differ only in case and
        blanks. An empty string if there is no problem.
    """
    first: dict[str, str] = {}
    for name in names:
        key = squeeze(name)
        if not key or not name.isprintable():
            return f"label {name!r} has no name. Name it with one line of text"
        if is_background(name):
            return f"label {name!r} is the background, which is label 0. Remove it"
        if key in first:
            return f"labels {first[key]!r} and {name!r} have the same name. Rename one of them"
        first[key] = name
    return ""

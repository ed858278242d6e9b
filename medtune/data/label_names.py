"""Names of the labels of masks."""

from collections.abc import Sequence

from medtune.data.identifiers import squeeze

# Masks are uint8, 0 is the background, and training does not count voxels of 255.
MAX_LABELS = 254
_BACKGROUND = {"background", "bg", "clearlabel", "unlabeled", "unlabelled"}


def is_background(name: str) -> bool:
    """Return True for a common name of the background."""
    return squeeze(name) in _BACKGROUND


def check_names(names: Sequence[str]) -> str:
    """Return the problem of the names of labels and its fix, or an empty string.

    Args:
        names: names of the labels 1, 2, ..., without the background.

    Returns:
        The first problem: an empty name, the name of the background, or names that differ only in case and blanks.
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

"""Selection of classes and names for tables, images and messages with limited space."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MAX_CLASSES = 30
_MAX_LETTERS = 40


def most_frequent(counts: npt.NDArray[np.int64], limit: int = MAX_CLASSES) -> npt.NDArray[np.int64]:
    """Select the `limit` classes with the highest counts.

    Args:
        counts: (classes,) number of images or errors per class.
        limit: maximum number of classes.

    Returns:
        Up to `limit` class indices, ascending. Of classes with equal counts, the first are selected.
    """
    return np.sort(np.argsort(-np.asarray(counts), kind="stable")[:limit])


def list_names(names: Sequence[str], limit: int = MAX_CLASSES) -> str:
    """Join the first `limit` names with commas, and add the number of the other names."""
    more = f", and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def shorten(name: str) -> str:
    """Shorten a name to at most 40 characters, for plots."""
    return name if len(name) <= _MAX_LETTERS else f"{name[: _MAX_LETTERS - 1]}…"

"""Which classes a table or an image shows where there are too many to show them all."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MAX_CLASSES = 30
_MAX_LETTERS = 40


def most_frequent(counts: npt.NDArray[np.int64], limit: int = MAX_CLASSES) -> npt.NDArray[np.int64]:
    """Select the `limit` classes with the highest counts.

    Args:
        counts: (classes,) what the classes are compared by, images or errors.
        limit: most classes to select.

    Returns:
        (at most limit,) class indices, ascending; of equal counts the first classes.
    """
    return np.sort(np.argsort(-np.asarray(counts), kind="stable")[:limit])


def list_names(names: Sequence[str], limit: int = MAX_CLASSES) -> str:
    """Names separated by commas; after `limit` of them the number that is left out."""
    more = f", and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def shorten(name: str) -> str:
    """Name as an image can hold it: at most 40 letters."""
    return name if len(name) <= _MAX_LETTERS else f"{name[: _MAX_LETTERS - 1]}…"

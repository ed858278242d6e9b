"""Positive class of a data set with two classes, and the order of its classes.

Sensitivity, specificity, the decision threshold and the direction of AUROC depend on the positive class. MedTune
therefore never guesses it: `data.positive` names it, or the source declares the published positive class. The positive
class has index 1 in a prepared set, its models and its bundles.
"""

from collections.abc import Sequence
from types import ModuleType

from medtune.config.data import DataParams
from medtune.config.errors import InputError, set_option, suggestion
from medtune.data.class_selection import list_names
from medtune.data.identifiers import label_key

KEY = "data.positive"


def find_positive(classes: Sequence[str], params: DataParams, source: ModuleType) -> str | None:
    """Determine the positive class of a data set.

    Args:
        classes: class names of the data set, after `data.label_map`.
        params: section `data` of params.yaml.
        source: module of the source, which can define `positive_class(params)`.

    Returns:
        The positive class of two classes; None for another number of classes.

    Raises:
        InputError: there are two classes and no positive class, `data.positive` is not a class, or `data.positive` is
            set for more than two classes.
    """
    if len(classes) != 2:
        if params.positive is not None and len(classes) > 2:
            raise InputError(
                f"{KEY}={params.positive}: the data set has {len(classes):,} classes "
                f"({list_names(classes)}), and only a set with two classes has a positive class. Remove it with "
                f"{set_option(KEY, None)}, or merge the classes into two (data.label_map, data.labels)."
            )
        return None
    chosen = params.positive if params.positive is not None else declared_positive(params, source)
    if chosen is None:
        first, second = classes
        raise InputError(
            f"{KEY}=null: the data set has two classes, {first} and {second}, and sensitivity, specificity and the "
            f"threshold depend on which one is positive. Add {set_option(KEY, first)} or {set_option(KEY, second)}."
        )
    if chosen not in classes:
        close = next((name for name in classes if label_key(name) == label_key(chosen)), None)
        hint = f" (did you mean {close!r}?)" if close else suggestion(chosen, list(classes))
        raise InputError(f"{KEY}={chosen}: no such class{hint}. Choose one of: {list_names(classes)}.")
    return chosen


def declared_positive(params: DataParams, source: ModuleType) -> str | None:
    """Return the positive class that the source declares for these params, or None."""
    return source.positive_class(params) if hasattr(source, "positive_class") else None


def order_classes(classes: Sequence[str], positive: str | None) -> tuple[str, ...]:
    """Move the positive class to the end. If `positive` is None, the order does not change."""
    return tuple(sorted(classes, key=lambda name: name == positive))

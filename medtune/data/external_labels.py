"""Comparison of the labels and channels of external volumes with those of an exported model (bundle)."""

from collections.abc import Mapping, Sequence

from medtune.config.errors import InputError, set_option, suggestion
from medtune.data.class_selection import list_names
from medtune.data.identifiers import label_key
from medtune.data.label_names import is_background

_SHOWN = 5
# Value of `data.label_map` for a label that counts as background.
BACKGROUND = "background"
# Channels of data with one channel that has no name.
UNNAMED = ("image",)


def match_labels(labels: Sequence[str], classes: Sequence[str], label_map: Mapping[str, str]) -> tuple[int, ...]:
    """Find the label number of the bundle for each label number of the masks, by the names of the labels.

    Case and blanks of the names are ignored.

    Args:
        labels: names of the labels 1, 2, ... of the masks.
        classes: classes of the bundle, which are its labels 1, 2, ...
        label_map: class of the bundle, or `background`, by the name of a label that is called differently.

    Returns:
        The number of the bundle for each number 0, 1, 2, ... of the masks.

    Raises:
        InputError: the map has unknown names, a label is not a class of the bundle, or a class has no label.
    """
    for name, target in label_map.items():
        if name not in labels:
            raise InputError(
                f"data.label_map={{{name}: {target}}}: the data have no label {name!r}"
                f"{suggestion(name, list(labels))}. The labels are {list_names(labels, _SHOWN)}"
            )
        if target not in classes and not is_background(target):
            raise InputError(
                f"data.label_map={{{name}: {target}}}: {target!r} is not a class of the bundle"
                f"{suggestion(target, list(classes))}. The classes are {list_names(classes, _SHOWN)}"
            )
    by_key = {label_key(name): number for number, name in enumerate(classes, 1)}
    targets = [label_map.get(name, name) for name in labels]
    numbers = [0 if is_background(target) else by_key.get(label_key(target)) for target in targets]
    if unknown := [name for name, number in zip(labels, numbers, strict=True) if number is None]:
        fix = set_option("data.label_map", {unknown[0]: "CLASS"})
        raise InputError(
            f"labels {list_names(unknown, _SHOWN)} are not classes of the bundle ({list_names(classes, _SHOWN)}). Map "
            f"them to classes, or to {BACKGROUND}, with {fix}"
        )
    if absent := [name for number, name in enumerate(classes, 1) if number not in numbers]:
        raise InputError(
            f"the bundle also predicts {list_names(absent, _SHOWN)}, but the data have no such label "
            f"({list_names(labels, _SHOWN)}). A structure without a label is unknown, not absent. Label it, or rename "
            "a label with data.label_map"
        )
    return (0, *(number or 0 for number in numbers))


def check_channels(found: Sequence[str], channels: Sequence[str]) -> None:
    """Check that the data have the channels of the bundle.

    Case and blanks of the names are ignored. A single channel without a name (`UNNAMED`) matches any name.

    Args:
        found: names of the channels of the data.
        channels: names of the channels of the bundle.

    Raises:
        InputError: the channels differ in number, names or order.
    """
    same = [label_key(name) for name in found] == [label_key(name) for name in channels]
    unnamed = any(names == UNNAMED for names in (tuple(found), tuple(channels)))
    if len(found) == len(channels) and (same or unnamed):
        return
    fix = "Use data with these channels"
    if len(found) == len(channels):
        fix = f"If the files show the same in this order, use {set_option('data.channel_names', list(channels))}"
    raise InputError(
        f"the channels of the data are {', '.join(found)}, but those of the bundle are {', '.join(channels)}. {fix}"
    )

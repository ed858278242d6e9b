"""dataset.json of the Medical Segmentation Decathlon and of nnU-Net: reading, labels and channels."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.config.data import DataParams
from medtune.config.errors import InputError, set_option
from medtune.config.project import PROJECT
from medtune.data.class_selection import list_names
from medtune.data.label_names import MAX_LABELS, check_names, is_background
from medtune.data.volume_cases import MAX_CHANNELS, require_folder, strip_suffix
from medtune.serving.field_error import show_json, wrong_field

FILE = "dataset.json"
_SHOWN = 10


def data_root(params: DataParams) -> Path | None:
    """Return the absolute data root, or None if `data.root` is null."""
    return (PROJECT / params.root).resolve() if params.root else None


def inputs(root: Path | None, params: DataParams) -> list[Path]:
    """Return dataset.json of the data set."""
    return [require_folder(root, params.source) / FILE]


def find_source(root: Path) -> str | None:
    """Return the source (`nnunet` or `decathlon`) that reads dataset.json in this folder.

    Args:
        root: the folder.

    Returns:
        The name of the source; None if the file is missing, damaged or of neither layout.
    """
    try:
        content = json.loads((root / FILE).read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or "labels" not in content:
        return None
    if "channel_names" in content or "file_ending" in content:
        return "nnunet"
    is_decathlon = isinstance(content.get("modality"), dict) or _lists_masks(content.get("training"))
    return "decathlon" if is_decathlon else None


def _lists_masks(training: Any) -> bool:
    """Return True if the value of the key `training` lists at least one NIfTI mask."""
    entries = training if isinstance(training, list) else []
    labels = [entry.get("label") for entry in entries if isinstance(entry, dict)]
    return any(isinstance(label, str) and strip_suffix(label) is not None for label in labels)


def read_dataset_json(root: Path | None, source: str, keys: Sequence[str], other: tuple[str, str]) -> dict[str, Any]:
    """Read dataset.json.

    Args:
        root: the data root.
        source: name of the source that reads the file.
        keys: required keys.
        other: a key that only dataset.json of another source has, and the name of that source.

    Returns:
        The content.

    Raises:
        InputError: the file is missing or unreadable, is not a JSON object, repeats a key, or lacks a required key.
    """
    root = require_folder(root, source)
    file = root / FILE
    try:
        content = json.loads(file.read_bytes().decode("utf-8-sig"), object_pairs_hook=_without_duplicates)
        json.dumps(content, ensure_ascii=False).encode()  # raises ValueError for half of a surrogate pair
    except FileNotFoundError:
        raise InputError(_describe_missing(root)) from None
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}. Check the permissions") from None
    except _DuplicateKeyError as error:
        raise InputError(
            f"{FILE}: the key {show_json(error.args[0])} occurs twice in one object. Remove one of them"
        ) from None
    except (ValueError, RecursionError):
        raise InputError(f"{file}: damaged, it is not JSON. Copy it again from the data set") from None
    if not isinstance(content, dict):
        raise InputError(f"{FILE}: expected an object with the keys {', '.join(keys)}. Copy it again from the data set")
    if other[0] in content and any(key not in content for key in keys):
        raise InputError(f"data.source={source}: {FILE} has the layout of {other[1]}. Use data.source={other[1]}")
    require_keys(content, keys)
    return content


def require_keys(content: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Raise InputError if the content of dataset.json lacks one of the keys."""
    if missing := [key for key in keys if key not in content]:
        needed = f"key {show_json(missing[0])} is" if len(missing) == 1 else f"keys {_quoted(missing)} are"
        fix = "Add it" if len(missing) == 1 else "Add them"
        raise InputError(f"{FILE}: {needed} missing; found {_quoted(list(content))}. {fix}")


def _quoted(names: Sequence[str]) -> str:
    return list_names([show_json(name) for name in names], _SHOWN)


class _DuplicateKeyError(Exception):
    """Key that occurs twice in a JSON object."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object as a dict. Raise `_DuplicateKeyError` if a key is repeated."""
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise _DuplicateKeyError(key)
        content[key] = value
    return content


def _describe_missing(root: Path) -> str:
    """Return the message about a missing dataset.json, with its folder if it is one level deeper."""
    below = sorted(path.parent for path in root.glob(f"*/{FILE}"))
    if len(below) == 1:
        return f"data.root={root}: {FILE} is in {below[0].name}. Use {set_option('data.root', str(below[0]))}"
    return f"data.root={root}: no {FILE}. Set data.root to the folder that contains it"


def numbered_labels(labels: Mapping[str, Any], number_first: bool) -> list[tuple[object, object]]:
    """Return the number and the name of each label.

    Args:
        labels: mapping from numbers to names, or from names to numbers.
        number_first: True if the layout maps numbers to names. If only the other side contains numbers, the mapping is
            read in the other direction.

    Returns:
        Pairs of number and name, as the file spells them.
    """
    keys, values = ([_to_number(value) is not None for value in side] for side in (labels, labels.values()))
    expected, other = (keys, values) if number_first else (values, keys)
    is_reversed = all(other) and not any(expected)
    return [pair if number_first != is_reversed else pair[::-1] for pair in labels.items()]


def label_names(numbered: Sequence[tuple[object, object]]) -> tuple[str, ...]:
    """Check the labels and sort them by number.

    Args:
        numbered: pairs of number and name, as the file spells them.

    Returns:
        The names of the labels 1, 2, ..., without the background.

    Raises:
        InputError: a number is invalid, repeated or missing, 0 is not the background, a name is invalid or repeated,
            or there is no label except the background.
    """
    by_number: dict[int, str] = {}
    for number, name in numbered:
        value = _to_number(number)
        if value is None or value > MAX_LABELS:
            raise InputError(
                f"{FILE}: label {show_json(name)} has the unknown number {show_json(number)}; expected 0 to "
                f"{MAX_LABELS}. Correct it"
            )
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise InputError(f"{FILE}: label {value} has the name {show_json(name)}. Name it with one line of text")
        if value in by_number:
            both = f"{show_json(by_number[value])} and {show_json(name)}"
            raise InputError(f"{FILE}: labels {both} both have number {value}. Correct one")
        by_number[value] = name.strip()
    if not is_background(by_number.get(0, "")):
        found = f"label 0 is {show_json(by_number[0])}" if 0 in by_number else "there is no label 0"
        raise InputError(f"{FILE}: {found}, but 0 must be the background. Correct the labels and the masks")
    numbers = sorted(by_number)
    if numbers == [0]:
        raise InputError(f"{FILE}: there is no label except the background. Add the labels of the masks")
    if gaps := sorted(set(range(numbers[-1])) - set(numbers)):
        shown = ", ".join(map(str, gaps[:5])) + (f" and {len(gaps) - 5:,} more" if len(gaps) > 5 else "")
        raise InputError(f"{FILE}: the label numbers {shown} have no name. Number the labels 0 to n without gaps")
    names = [by_number[number] for number in numbers[1:]]
    if problem := check_names(names):
        raise InputError(f"{FILE}: {problem}")
    return tuple(names)


def read_mapping(content: Mapping[str, Any], key: str, example: str) -> dict[str, Any]:
    """Return a value of dataset.json that must be a mapping.

    Args:
        content: content of dataset.json.
        key: key of the value.
        example: example of a valid value, for the message.

    Returns:
        The mapping.

    Raises:
        InputError: the value is not a mapping, or the mapping is empty.
    """
    value = content[key]
    if not isinstance(value, dict) or not value:
        raise InputError(f"{FILE}: {wrong_field(key, value, f'a mapping, such as {example}')}. Correct it")
    return value


def channel_names(content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Check the channels and sort them by number.

    Args:
        content: content of dataset.json.
        key: key of the channels, a mapping from the numbers 0, 1, ... to names.

    Returns:
        The names of the channels 0, 1, ...

    Raises:
        InputError: the value is not such a mapping, or it has more than `MAX_CHANNELS` channels.
    """
    example = '{"0": "MRI"}'
    channels = read_mapping(content, key, example)
    names = {_to_number(number): name for number, name in channels.items()}
    if set(names) != set(range(len(channels))) or not all(isinstance(name, str) for name in names.values()):
        raise InputError(
            f"{FILE}: {wrong_field(key, channels, f'a name for each number from 0, such as {example}')}. Correct it"
        )
    if len(names) > MAX_CHANNELS:
        raise InputError(
            f"{FILE}: key {show_json(key)} has {len(names)} channels; at most {MAX_CHANNELS} are supported. Remove some"
        )
    return tuple(names[number] for number in range(len(names)))


def _to_number(value: object) -> int | None:
    """Return the number of a label or channel; None if the value is not an integer of at least 0, or its text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 6:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

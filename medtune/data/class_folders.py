"""Folders as labels: one per class, or one per split with a folder per class in each."""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medtune.config.errors import InputError, set_option
from medtune.data.listing import scan_root
from medtune.serving.decode import SUFFIXES
from medtune.serving.folder_scan import count_types, format_counts, printable

SPLIT_NAMES = {
    "train": "train", "training": "train", "trn": "train", "trainset": "train", "trainingset": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val", "valset": "val", "validationset": "val",
    "test": "test", "testing": "test", "tst": "test", "testset": "test", "holdout": "test", "eval": "test",
    "evaluation": "test",
}  # fmt: skip
_FOLD = re.compile(r"(fold|split|cv)[-_ ]?\d+", re.IGNORECASE)
# Words beside a split's name that do not make it a class: test_set, train_images, seg_train.
_NEUTRAL = {"set", "data", "dataset", "images", "image", "imgs", "img", "split", "folder", "fold", "part", "seg", "all"}
_SHOWN = 6


@dataclass(frozen=True)
class LabeledPath:
    """One image.

    Attributes:
        path: relative to the data root, posix.
        label: name of its class folder.
        split: train, val or test; None where the folders name no splits.
    """

    path: str
    label: str
    split: str | None = None


def split_name(folder: str) -> str | None:
    """The split (train, val or test) that a folder's name means; None for any other name."""
    split, others = _parse(folder)
    return split if not others - _NEUTRAL else None


def _parse(folder: str) -> tuple[str | None, frozenset[str]]:
    """The split that a word of the name means, if it is one split, and the other words."""
    words = re.sub(r"hold[-_ ]?out", "holdout", folder.lower())
    found = [word for word in re.split(r"[^a-z]+", words) if word]
    splits = {SPLIT_NAMES[word] for word in found if word in SPLIT_NAMES}
    return splits.pop() if len(splits) == 1 else None, frozenset(word for word in found if word not in SPLIT_NAMES)


def split_folders(images: Sequence[str]) -> dict[str, str]:
    """Split by name of each top-level folder that is named like one: train, or lung_train beside lung_test."""
    tops = sorted({parts[0] for path in images if len(parts := PurePosixPath(path).parts) > 1})
    by_words: defaultdict[frozenset[str], set[str]] = defaultdict(set)
    for name in tops:
        split, others = _parse(name)
        if split is not None:
            by_words[others].add(split)
    found = {}
    for name in tops:
        split, others = _parse(name)
        if split is not None and (not others - _NEUTRAL or len(by_words[others]) > 1):
            found[name] = split
    return found


def inner_folder(images: Sequence[str]) -> str | None:
    """The folder that holds all images and in which folders are named like splits; None where there is none."""
    here = PurePosixPath()
    while True:
        below = [PurePosixPath(path).relative_to(here).as_posix() for path in images]
        tops = {PurePosixPath(path).parts[0] for path in below}
        if here.parts and split_folders(below):
            return here.as_posix()
        if len(tops) != 1 or any("/" not in path for path in below):
            return None
        here /= tops.pop()


def by_class(root: Path, classes: Collection[str], suffixes: tuple[str, ...] = SUFFIXES) -> list[LabeledPath]:
    """Every image, labeled by its top-level folder.

    Args:
        root: the data root.
        classes: names that the user declares as classes.
        suffixes: lower-case file endings of an image.

    Raises:
        InputError: an image outside of class folders, a class folder without images, or folders that are splits.
    """
    content = scan_root(root, suffixes)
    images = content.images
    if splits := [name for name in split_folders(images) if name not in classes]:
        raise InputError(_describe_splits(root, splits, images))
    tops = sorted({PurePosixPath(path).parts[0] for path in images})
    if tops and not classes and all(_FOLD.fullmatch(name) for name in tops):
        raise InputError(
            f"data.root {root}: {', '.join(tops[:_SHOWN])} are named like folds, not classes. Name labels and patients "
            "in a table (data.csv). If they are classes, name every class in data.class_names"
        )
    if (inner := inner_folder(images)) and not classes:
        option = set_option("data.root", str(root / inner))
        raise InputError(f"data.root {root}: the images lie in {inner}/, in folders that are splits. Use {option}")
    for entry in sorted(root.iterdir()):
        system = any(path.rstrip("/") == entry.name for path in content.system)
        if entry.is_dir() and not system and entry.name not in tops:
            others = count_types(path for path in content.others if path.startswith(f"{entry.name}/"))
            found = f" (it holds {format_counts(others)})" if others else ""
            raise InputError(f"class folder {printable(str(entry))} holds no images{found}; fill it or take it away")
    for path in images:
        if "/" not in path:
            place = printable(str(root / path))
            raise InputError(f"{place} lies in no class folder; move it into one, or name a table in data.csv")
    return [LabeledPath(path, PurePosixPath(path).parts[0]) for path in images]


def _describe_splits(root: Path, splits: Sequence[str], images: Sequence[str]) -> str:
    deeper = sorted({parts[1] for path in images if len(parts := PurePosixPath(path).parts) > 2 and parts[0] in splits})
    inside = f", with the folders {', '.join(deeper[:_SHOWN])}" if deeper else ""
    train = next((name for name in splits if _parse(name)[0] == "train"), splits[0])
    return (
        f"data.root {root}: {', '.join(splits)} are named like splits, not classes{inside}. Use them as splits with "
        f"{set_option('data.split.protocol', 'folders')}, or take one of them with "
        f"{set_option('data.root', str(root / train))}. If they are classes, name every class in data.class_names"
    )


def by_split(root: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[LabeledPath]:
    """Every image, labeled by the folder inside its split's folder.

    Args:
        root: the data root.
        suffixes: lower-case file endings of an image.

    Raises:
        InputError: no training or no test folder, two folders for one split, other folders, or images outside of
            class folders.
    """
    images = scan_root(root, suffixes).images
    names = split_folders(images)
    if not names and (inner := inner_folder(images)):
        option = set_option("data.root", str(root / inner))
        raise InputError(f"data.split.protocol is folders: the splits lie in {root / inner}. Use {option}")
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for name, split in names.items():
        by_name[split].append(name)
    if missing := [split for split in ("train", "test") if split not in by_name]:
        found = ", ".join(sorted({PurePosixPath(path).parts[0] for path in images})[:_SHOWN]) or "nothing"
        raise InputError(
            f"data.split.protocol is folders: no folder {' and no '.join(missing)} with images in {root}; found {found}"
        )
    if twice := next((folders for folders in by_name.values() if len(folders) > 1), None):
        raise InputError(f"data.split.protocol is folders: {' and '.join(twice)} in {root} are the same split")
    result = []
    for path in images:
        parts = PurePosixPath(path).parts
        if parts[0] not in names:
            raise InputError(
                f"data.split.protocol is folders: {printable(path)} lies in none of {', '.join(names)}. Move it away"
            )
        if len(parts) < 3:
            raise InputError(
                f"data.split.protocol is folders: {printable(path)} lies in no class folder. Move it into one"
            )
        if split_name(parts[1]) is not None:
            raise InputError(
                f"data.split.protocol is folders: {printable('/'.join(parts[:2]))} is named like a split, not a class. "
                "Move the class folders one folder up"
            )
        result.append(LabeledPath(path, parts[1], names[parts[0]]))
    return result

"""Labels from folder names: one folder per class, optionally inside one folder per split."""

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
# Names of folders such as fold1, split-2 and cv_3.
_FOLD = re.compile(r"(fold|split|cv)[-_ ]?\d+", re.IGNORECASE)
# Words that may accompany the name of a split: test_set, train_images, seg_train.
_NEUTRAL = {"set", "data", "dataset", "images", "image", "imgs", "img", "split", "folder", "fold", "part", "seg", "all"}
_SHOWN = 6


@dataclass(frozen=True)
class LabeledPath:
    """Image with the label and split of its folders.

    Attributes:
        path: posix path relative to the data root.
        label: name of the class folder.
        split: train, val or test; None if there are no split folders.
    """

    path: str
    label: str
    split: str | None = None


def split_name(folder: str) -> str | None:
    """Return the split (train, val or test) that the name of a folder means, or None for another name."""
    split, others = _parse(folder)
    return split if not others - _NEUTRAL else None


def _parse(folder: str) -> tuple[str | None, frozenset[str]]:
    """Return the split that the words of a folder name mean (None if none or several), and the other words."""
    name = re.sub(r"hold[-_ ]?out", "holdout", folder.lower())
    words = [word for word in re.split(r"[^a-z]+", name) if word]
    splits = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
    return splits.pop() if len(splits) == 1 else None, frozenset(word for word in words if word not in SPLIT_NAMES)


def split_folders(images: Sequence[str]) -> dict[str, str]:
    """Return the split of each top-level folder that is named like a split.

    A name with other words, such as lung_train, counts only next to a name of another split, such as lung_test.
    """
    tops = sorted({parts[0] for path in images if len(parts := PurePosixPath(path).parts) > 1})
    by_words: defaultdict[frozenset[str], set[str]] = defaultdict(set)
    for name in tops:
        split, others = _parse(name)
        if split is not None:
            by_words[others].add(split)
    split_by_folder = {}
    for name in tops:
        split, others = _parse(name)
        if split is not None and (not others - _NEUTRAL or len(by_words[others]) > 1):
            split_by_folder[name] = split
    return split_by_folder


def inner_folder(images: Sequence[str]) -> str | None:
    """Return the folder inside the data root whose split folders contain all images, or None if there is none."""
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
    """List the images. The label of an image is the name of its top-level folder.

    Args:
        root: the data root.
        classes: class names that the user set. A folder with such a name is always a class.
        suffixes: lower-case file suffixes of images.

    Returns:
        The images, sorted by path.

    Raises:
        InputError: an image is outside of class folders, a class folder has no images, or folders are named like
            splits or folds.
    """
    content = scan_root(root, suffixes)
    images = content.images
    if splits := [name for name in split_folders(images) if name not in classes]:
        raise InputError(_describe_splits(root, splits, images))
    tops = sorted({PurePosixPath(path).parts[0] for path in images})
    if tops and not classes and all(_FOLD.fullmatch(name) for name in tops):
        raise InputError(
            f"data.root={root}: {', '.join(tops[:_SHOWN])} are named like folds, not classes. List labels and patients "
            "in a table (data.csv). If they are classes, list every class in data.class_names"
        )
    if (inner := inner_folder(images)) and not classes:
        option = set_option("data.root", str(root / inner))
        raise InputError(f"data.root={root}: the images are in split folders inside {inner}/. Use {option}")
    for entry in sorted(root.iterdir()):
        system = any(path.rstrip("/") == entry.name for path in content.system)
        if entry.is_dir() and not system and entry.name not in tops:
            others = count_types(path for path in content.others if path.startswith(f"{entry.name}/"))
            contents = f" (it contains {format_counts(others)})" if others else ""
            raise InputError(f"class folder {printable(str(entry))} has no images{contents}. Add images or remove it")
    for path in images:
        if "/" not in path:
            file = printable(str(root / path))
            raise InputError(f"{file} is not in a class folder. Move it into a class folder, or set data.csv")
    return [LabeledPath(path, PurePosixPath(path).parts[0]) for path in images]


def _describe_splits(root: Path, splits: Sequence[str], images: Sequence[str]) -> str:
    """Return the message for class folders that are named like splits."""
    deeper = sorted({parts[1] for path in images if len(parts := PurePosixPath(path).parts) > 2 and parts[0] in splits})
    inside = f", with the folders {', '.join(deeper[:_SHOWN])}" if deeper else ""
    train = next((name for name in splits if _parse(name)[0] == "train"), splits[0])
    return (
        f"data.root={root}: {', '.join(splits)} are named like splits, not classes{inside}. Use them as splits with "
        f"{set_option('data.split.protocol', 'folders')}, or use only one of them with "
        f"{set_option('data.root', str(root / train))}. If they are classes, list every class in data.class_names"
    )


def by_split(root: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[LabeledPath]:
    """List the images in split folders. The label of an image is the name of the class folder in its split folder.

    Args:
        root: the data root.
        suffixes: lower-case file suffixes of images.

    Returns:
        The images, sorted by path.

    Raises:
        InputError: the training or test folder is missing, two folders are the same split, or an image is outside of
            split or class folders.
    """
    images = scan_root(root, suffixes).images
    names = split_folders(images)
    if not names and (inner := inner_folder(images)):
        option = set_option("data.root", str(root / inner))
        raise InputError(f"data.split.protocol=folders: the split folders are in {root / inner}. Use {option}")
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for name, split in names.items():
        by_name[split].append(name)
    if missing := [split for split in ("train", "test") if split not in by_name]:
        found = ", ".join(sorted({PurePosixPath(path).parts[0] for path in images})[:_SHOWN]) or "nothing"
        raise InputError(
            f"data.split.protocol=folders: no folder {' and no '.join(missing)} with images in {root}; found {found}. "
            "Add it, or choose another protocol"
        )
    if repeated := next((folders for folders in by_name.values() if len(folders) > 1), None):
        raise InputError(
            f"data.split.protocol=folders: {' and '.join(repeated)} in {root} are the same split. Merge them, or "
            "rename one of them"
        )
    result = []
    for path in images:
        parts = PurePosixPath(path).parts
        if parts[0] not in names:
            raise InputError(
                f"data.split.protocol=folders: {printable(path)} is in none of {', '.join(names)}. Move or remove it"
            )
        if len(parts) < 3:
            raise InputError(
                f"data.split.protocol=folders: {printable(path)} is not in a class folder. Move it into a class folder"
            )
        if split_name(parts[1]) is not None:
            raise InputError(
                f"data.split.protocol=folders: {printable('/'.join(parts[:2]))} is named like a split, not a class. "
                "Move the class folders one level up"
            )
        result.append(LabeledPath(path, parts[1], names[parts[0]]))
    return result

"""Masks among the images they belong to: `x_mask.png` beside `x.png`, or `masks/x.png` beside `images/x.png`."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

_WORD = r"(?:masks?|seg(?:mentation)?s?|segm|annotations?|gt|ground[-_ ]?truth|lesion[-_ ]?mask|roi|contours?|overlay)"
# Of BUSI `benign (1)_mask_1`, of ISIC `ISIC_0000000_segmentation`.
_SUFFIX = re.compile(rf"(.+?)[-_. ]*[-_. ]{_WORD}(?:[-_ ]?\(?\d+\)?)?", re.IGNORECASE)
_PREFIX = re.compile(rf"{_WORD}[-_. ]+(.+)", re.IGNORECASE)
_FOLDER = re.compile(rf"{_WORD}|labels?|(?:.+[-_ ])masks?", re.IGNORECASE)


def find_masks(paths: Sequence[str]) -> list[str]:
    """Return the paths whose name or folder says mask and whose image is there too, in the order given.

    A name alone proves nothing: `with_mask_3.png` without a `with.png` is an image.

    Args:
        paths: image files, relative and posix.
    """
    images: defaultdict[str, set[str]] = defaultdict(set)  # stems of the images in a folder
    below: defaultdict[str, set[str]] = defaultdict(set)  # and in the folders under it, masks' own folders left out
    pure = [PurePosixPath(path) for path in paths]
    for path in pure:
        images[path.parent.as_posix()].add(path.stem.lower())
        if not any(_FOLDER.fullmatch(part) for part in path.parts[:-1]):
            for parent in path.parents:
                below[parent.as_posix()].add(path.stem.lower())
    return [str(path) for path in pure if _beside(path, images) or _in_folder(path, below)]


def _beside(path: PurePosixPath, images: dict[str, set[str]]) -> bool:
    return bool(_stems(path) & images[path.parent.as_posix()])


def _in_folder(path: PurePosixPath, below: dict[str, set[str]]) -> bool:
    for parent in path.parents:
        if _FOLDER.fullmatch(parent.name):
            found = below.get(parent.parent.as_posix(), set())
            return bool(({path.stem.lower()} | _stems(path)) & found)
    return False


def _stems(path: PurePosixPath) -> set[str]:
    """Stems of the image that a mask of this name belongs to."""
    matches = [pattern.fullmatch(path.stem.lower()) for pattern in (_SUFFIX, _PREFIX)]
    return {match[1].strip("-_. ") for match in matches if match}

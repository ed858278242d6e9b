"""Detection of segmentation masks: `x_mask.png` next to `x.png`, or `masks/x.png` next to `images/x.png`."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

_WORD = r"(?:masks?|seg(?:mentation)?s?|segm|annotations?|gt|ground[-_ ]?truth|lesion[-_ ]?mask|roi|contours?|overlay)"
# Examples: `benign (1)_mask_1` of the data set BUSI, `ISIC_0000000_segmentation` of ISIC.
_SUFFIX = re.compile(rf"(.+?)[-_. ]*[-_. ]{_WORD}(?:[-_ ]?\(?\d+\)?)?", re.IGNORECASE)
_PREFIX = re.compile(rf"{_WORD}[-_. ]+(.+)", re.IGNORECASE)
_FOLDER = re.compile(rf"{_WORD}|labels?|(?:.+[-_ ])masks?", re.IGNORECASE)


def find_masks(paths: Sequence[str]) -> list[str]:
    """Find the masks: files whose name or folder indicates a mask, and whose image is also in `paths`.

    The name alone is not sufficient: `with_mask_3.png` is an image if there is no `with.png`.

    Args:
        paths: image files, as relative POSIX paths.

    Returns:
        The paths of the masks, in the given order.
    """
    images: defaultdict[str, set[str]] = defaultdict(set)  # stems of the images in a folder
    below: defaultdict[str, set[str]] = defaultdict(set)  # stems in all subfolders that are not folders of masks
    pure = [PurePosixPath(path) for path in paths]
    for path in pure:
        images[path.parent.as_posix()].add(path.stem.lower())
        if not any(_FOLDER.fullmatch(part) for part in path.parts[:-1]):
            for parent in path.parents:
                below[parent.as_posix()].add(path.stem.lower())
    return [str(path) for path in pure if _beside(path, images) or _in_folder(path, below)]


def _beside(path: PurePosixPath, images: dict[str, set[str]]) -> bool:
    """Return True if the folder of a mask contains its image."""
    return bool(image_stems(path) & images[path.parent.as_posix()])


def _in_folder(path: PurePosixPath, below: dict[str, set[str]]) -> bool:
    """Return True if a file is in a folder of masks, and its image is beside this folder or in a folder beside it."""
    for parent in path.parents:
        if _FOLDER.fullmatch(parent.name):
            candidates = below.get(parent.parent.as_posix(), set())
            return bool(({path.stem.lower()} | image_stems(path)) & candidates)
    return False


def image_stems(path: PurePosixPath) -> set[str]:
    """Return the possible stems (names without suffix, in lower case) of the image of a mask."""
    matches = [pattern.fullmatch(path.stem.lower()) for pattern in (_SUFFIX, _PREFIX)]
    return {match[1].strip("-_. ") for match in matches if match}

"""Matching of images and masks by their names."""

from collections.abc import Collection
from pathlib import PurePosixPath

from medtune.serving.masks import image_stems

# nnU-Net adds the number of the channel to the name of an image, also if the image has colors.
FIRST_CHANNEL = "_0000"


def pair_names(images: Collection[str], masks: Collection[str]) -> dict[str, str]:
    """Find the image of each mask.

    The names are equal, or the image has the suffix of a first channel (`a_0000` and `a`), or the mask has a word for
    masks (`a` and `a_segmentation`). An image belongs to one mask.

    Args:
        images: names of the images without suffix, with their subfolders.
        masks: names of the masks.

    Returns:
        Name of the image by name of the mask, without masks that have no image.
    """
    pairs = {name: name for name in masks if name in images}
    free = {name.lower(): name for name in images if name not in pairs}
    for mask in sorted(name for name in masks if name not in pairs):
        path = PurePosixPath(f"{mask}.x")  # a name may contain a dot
        stems = [f"{path.stem.lower()}{FIRST_CHANNEL}", *sorted(image_stems(path) - {""})]
        found = [key for stem in stems if (key := path.with_name(stem).as_posix().lower()) in free]
        if len(found) == 1:
            pairs[mask] = free.pop(found[0])
    return pairs

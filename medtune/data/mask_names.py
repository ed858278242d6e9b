"""Matching of images and masks by their names."""

from collections.abc import Collection
from pathlib import PurePosixPath

from medtune.serving.masks import image_stems

# nnU-Net adds the number of a channel to the name of an image. An image with colors has the number of the first one.
FIRST_CHANNEL = "_0000"


def pair_names(images: Collection[str], masks: Collection[str]) -> dict[str, str]:
    """Find the image of each mask.

    A mask belongs to the image of the same name. Otherwise, it belongs to the image with the number of the first
    channel (mask `a`, image `a_0000`) or to the image without a word for masks (mask `a_segmentation`, image `a`). No
    image belongs to two masks.

    Args:
        images: paths of the images in their folder, without suffix.
        masks: paths of the masks in their folder, without suffix.

    Returns:
        Path of the image by path of the mask. Masks without an image, or with several possible images, are left out.
    """
    pairs = {name: name for name in masks if name in images}
    free = {name.lower(): name for name in images if name not in pairs}
    for mask in sorted(name for name in masks if name not in pairs):
        path = PurePosixPath(f"{mask}.x")  # with a suffix, so that `stem` keeps a dot in the name
        stems = [f"{path.stem.lower()}{FIRST_CHANNEL}", *sorted(image_stems(path) - {""})]
        candidates = [key for stem in stems if (key := path.with_name(stem).as_posix().lower()) in free]
        if len(candidates) == 1:
            pairs[mask] = free.pop(candidates[0])
    return pairs

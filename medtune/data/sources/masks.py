"""Source `masks`: two-dimensional images and masks, from two folders or from a table that names both.

MedTune reads an image as a volume of one slice.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from medtune.config.errors import InputError
from medtune.config.validation_errors import param_error
from medtune.data.image_masks import MAX_VALUE
from medtune.data.image_masks import SUFFIXES as MASK_SUFFIXES
from medtune.data.label_names import MAX_LABELS
from medtune.data.mask_names import pair_names
from medtune.data.sample import Sample
from medtune.data.volume_cases import VolumeCase, strip_suffix, to_samples
from medtune.data.volume_listing import ListedVolumeParams, files_by_name, list_cases
from medtune.data.volume_listing import classes as classes
from medtune.data.volume_listing import inputs as inputs
from medtune.serving.folder_scan import printable
from medtune.serving.volumes.image_file import SUFFIXES

NAME = "local images with masks"
LICENSE = "defined by the owner of the images"
CITATION = "none given"
KNOWN_ISSUES: tuple[str, ...] = ()
_COLORS = {"rgb": ("red", "green", "blue"), "gray": ("gray",)}


class Params(ListedVolumeParams):
    """Parameters of the files, the labels, the colors and the patients."""

    source: Literal["masks"] = "masks"
    color: Literal["rgb", "gray"] = Field(
        "rgb", description="rgb: the channels are red, green and blue. gray: one channel; color images are refused"
    )
    mask_values: dict[Annotated[int, Field(ge=0, le=MAX_VALUE)], Annotated[int, Field(ge=0, le=MAX_LABELS)]] | None = (
        Field(
            None,
            description="number of the label for each value in the masks: {255: 1}. 0 is the background. null: the "
            "values are the numbers",
            examples=[{128: 1, 255: 2}],
        )
    )

    @model_validator(mode="after")
    def _one_slice(self) -> "Params":
        for name, values in (("spacing", self.spacing), ("patch", self.patch)):
            if values is not None and values[2] != 1:
                raise param_error(name, list(values), "an image has one slice. Set the third number to 1")
        return self

    @model_validator(mode="after")
    def _known_labels(self) -> "Params":
        count = len(self.class_names or ())
        for value, label in (self.mask_values or {}).items():
            if self.class_names is not None and label > count:
                problem = f"value {value} means label {label}, but class_names has {count}. Correct one of the two"
                raise param_error("mask_values", self.mask_values, problem)
        return self

    @property
    def is_planar(self) -> bool:
        """True, because every volume is an image."""
        return True


def channels(params: Params) -> tuple[str, ...]:
    """Return the channel names in order."""
    return _COLORS[params.color]


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """List the images.

    Args:
        root: the data root, see medtune.data.sample.
        params: section `data` of params.yaml.

    Returns:
        One sample per image, sorted by path.

    Raises:
        InputError: the labels have no names, there are no images, the table cannot be used, an image or a mask is
            missing, a mask has a lossy format, only some rows state a spacing, or `patient_pattern` does not match.
    """
    absent = f"images ({', '.join(SUFFIXES)}). Add images and masks"
    root, cases, listed_in = list_cases(root, params, _by_folder, absent)
    _check_masks(cases)
    _check_spacing(cases)
    return to_samples(root, cases, listed_in, params.patient_pattern, suffixes=SUFFIXES, mask_values=params.mask_values)


def _by_folder(root: Path, params: Params) -> list[VolumeCase]:
    """Return one case for each name that the folder of images or the folder of masks contains."""
    images = files_by_name(root, "images", params.images, SUFFIXES)
    masks = files_by_name(root, "masks", params.masks, SUFFIXES)
    mask_by_image = {image: masks.pop(mask) for mask, image in pair_names(images, masks).items()}
    # A missing file gets its expected path, which `to_samples` then reports as missing.
    pairs = {name: (path, mask_by_image.get(name) or f"{params.masks}/{name}.png") for name, path in images.items()}
    pairs |= {name: (f"{params.images}/{name}.png", path) for name, path in masks.items()}
    return [VolumeCase(name, (image,), mask) for name, (image, mask) in sorted(pairs.items())]


def _check_masks(cases: list[VolumeCase]) -> None:
    """Refuse masks in formats that can change the label numbers, such as JPEG."""
    if lossy := [case for case in cases if strip_suffix(case.mask, MASK_SUFFIXES) is None]:
        raise InputError(
            f"{lossy[0].place}: the mask {printable(lossy[0].mask)!r} is not one of {', '.join(MASK_SUFFIXES)} "
            f"({len(lossy):,} of {len(cases):,} cases). Save the masks as PNG from their source"
        )


def _check_spacing(cases: list[VolumeCase]) -> None:
    """Refuse a table that states the spacing of only some images. The image files do not state a spacing."""
    unknown = [case for case in cases if case.spacing is None]
    if unknown and len(unknown) < len(cases):
        raise InputError(
            f"{unknown[0].place}: spacing is empty ({len(unknown):,} of {len(cases):,} rows), but the other rows have "
            "one. Fill it in, or remove the column"
        )


def example(root: Path) -> dict[str, object]:
    """Write a tiny data set in this layout to `root` and return the params that read it."""
    import numpy as np
    from PIL import Image

    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:24, :32]
    for number in range(12):
        draw = np.random.default_rng(number)
        lesion = (x - draw.uniform(11, 20)) ** 2 + (y - draw.uniform(9, 14)) ** 2 < draw.uniform(25, 49)
        spot = (x - draw.uniform(26, 29)) ** 2 + (y - draw.uniform(4, 18)) ** 2 < 6
        mask = np.where(spot, 2, lesion).astype(np.uint8)
        colors = np.array([(190, 150, 130), (120, 70, 60), (230, 60, 70)])[mask]
        pixels = np.clip(colors + draw.normal(0, 12, colors.shape), 0, 255).astype(np.uint8)
        name = f"P{number // 2}_{number % 2}"
        Image.fromarray(pixels).save(root / "images" / f"{name}.png")
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")
    return {"class_names": ["lesion", "vessel"], "patient_pattern": r"(P\d+)_"}

"""Source `volumes`: local volumes and masks, from two folders or from a table that names both."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from medtune.config.names import Name
from medtune.data.sample import Sample
from medtune.data.volume_cases import MAX_CHANNELS, SUFFIXES, VolumeCase, to_samples
from medtune.data.volume_listing import ListedVolumeParams, files_by_name, list_cases
from medtune.data.volume_listing import classes as classes
from medtune.data.volume_listing import inputs as inputs

NAME = "local volumes"
LICENSE = "defined by the owner of the volumes"
CITATION = "none given"
KNOWN_ISSUES: tuple[str, ...] = ()


class Params(ListedVolumeParams):
    """Parameters of the files, the labels, the channels and the patients."""

    source: Literal["volumes"] = "volumes"
    channel_names: Annotated[list[Name], Field(min_length=1)] = Field(
        ["image"],
        description="names of the channels, which are in the fourth axis of a file: [T1, T2]",
        examples=[["T1", "T2"]],
    )

    @field_validator("channel_names")
    @classmethod
    def _few_channels(cls, names: list[str]) -> list[str]:
        if len(names) > MAX_CHANNELS:
            raise ValueError(f"at most {MAX_CHANNELS} channels are supported. Remove some")
        if len(set(names)) < len(names):
            raise ValueError("a name is repeated. Name each channel once")
        return names


def channels(params: Params) -> tuple[str, ...]:
    """Return the channel names in order."""
    return tuple(params.channel_names)


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """List the volumes.

    Args:
        root: the data root, see medtune.data.sample.
        params: section `data` of params.yaml.

    Returns:
        One sample per volume, sorted by path.

    Raises:
        InputError: the labels have no names, there are no volumes, the table cannot be used, an image or a mask is
            missing, or `patient_pattern` does not match.
    """
    absent = f"volumes ({', '.join(SUFFIXES)}). Add volumes and masks"
    root, cases, listed_in = list_cases(root, params, _by_folder, absent)
    return to_samples(root, cases, listed_in, params.patient_pattern)


def _by_folder(root: Path, params: Params) -> list[VolumeCase]:
    """Return one case for each name that the folder of volumes or the folder of masks contains."""
    images, masks = (files_by_name(root, key, getattr(params, key)) for key in ("images", "masks"))
    cases = []
    for name in sorted(images | masks):
        # A missing file gets its expected path, which `to_samples` then reports as missing.
        image, mask = (files.get(name) or f"{folder}/{name}{SUFFIXES[0]}"
                       for files, folder in ((images, params.images), (masks, params.masks)))  # fmt: skip
        cases.append(VolumeCase(name, (image,), mask))
    return cases


def example(root: Path) -> dict[str, object]:
    """Write a tiny data set in this layout to `root` and return the params that read it."""
    from medtune.data.volume_example import write_case

    rows = ["path,mask,patient"]
    for number in range(12):
        name = f"{number}.nii.gz"
        write_case([root / "images" / name], root / "masks" / name, number)
        rows.append(f"images/{name},masks/{name},P{number // 2}")
    (root / "volumes.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {"csv": "volumes.csv", "class_names": ["upper organ", "lower organ", "lesion"]}

"""Source `slides`: whole-slide images, which are cut into tiles.

As for the source `folder`, class folders or a table determine the labels.
"""

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, model_validator

from medtune.config.base import StrictParams
from medtune.config.errors import InputError, set_option
from medtune.config.validation_errors import param_error
from medtune.data.sample import Sample
from medtune.data.slide_tiles import COLUMNS, SlideTiles, cut_slides
from medtune.data.sources import folder
from medtune.serving.folder_scan import printable
from medtune.serving.slides.pixel_size import MPP_RANGE
from medtune.serving.slides.slide import CONVERT, OTHER_SUFFIXES, SUFFIXES
from medtune.serving.slides.tile_settings import TileSettings

NAME = "local whole-slide images"
LICENSE = "as given by the owner of the slides"
CITATION = "none given"
KNOWN_ISSUES: tuple[str, ...] = ()


class TileParams(StrictParams):
    """Parameters of tiles. Each tile becomes an image with sides of data.image_size pixels."""

    size_um: Annotated[float, Field(gt=0)] = Field(256.0, description="side of a tile in micrometers")
    overlap: Annotated[float, Field(ge=0, le=0.9)] = Field(
        0.0, description="overlap of neighboring tiles, as a fraction of the side"
    )
    max_per_slide: Annotated[int, Field(ge=1)] | None = Field(
        200, description="maximum number of tiles per slide, selected at random. null: all"
    )
    min_tissue: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="minimum fraction of tissue in a tile")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="seed of the selection of max_per_slide tiles")
    mpp: Annotated[float, Field(ge=MPP_RANGE[0], le=MPP_RANGE[1])] | None = Field(
        None, description="micrometers per pixel of slides whose file does not state it"
    )
    mpp_column: str | None = Field(
        None,
        description="column of data.csv with micrometers per pixel, for slides whose file does not state it",
        examples=["mpp"],
    )


class Params(folder.Params):
    """Parameters of slides, labels, patients and tiles."""

    source: Literal["slides"] = "slides"  # type: ignore[assignment]
    tiles: TileParams = TileParams()

    @model_validator(mode="after")
    def _column_needs_a_table(self) -> "Params":
        if self.tiles.mpp_column is not None and self.csv is None:
            raise param_error(
                "tiles.mpp_column",
                self.tiles.mpp_column,
                "data.csv is null, but the column is in a table. Set data.csv to the table",
            )
        return self

    @model_validator(mode="after")
    def _one_class_per_slide(self) -> "Params":
        if self.label_type not in ("nominal", "ordinal"):
            raise param_error("label_type", self.label_type, "a slide has one class. Use nominal or ordinal")
        return self


def classes(params: Params) -> tuple[str, ...]:
    """Return the class names in the user's order; an empty tuple if the folders or the table determine them."""
    return folder.classes(params)


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """List the slides.

    Args:
        root: the data root.
        params: section `data` of params.yaml.

    Returns:
        One sample per slide, sorted by path.

    Raises:
        InputError: see `folder.list_samples`; or a file is not a slide, the table has a column that is reserved for
            tiles, or a pixel size is invalid (see `given_mpp`).
    """
    samples = folder.list_samples(root, params, (*SUFFIXES, *OTHER_SUFFIXES))
    if reserved := [name for name in samples[0].metadata if name in COLUMNS]:
        raise InputError(f"{params.csv}: the column name {reserved[0]!r} is reserved for tiles. Rename the column")
    for sample in samples:
        _check_suffix(sample)
        given_mpp(sample, params)
    return samples


def inputs(root: Path | None, params: Params) -> list[Path]:
    """Return the table if `params.csv` names one, otherwise an empty list."""
    return folder.inputs(root, params)


def metadata(params: Params) -> dict[str, object]:
    """Return further entries of dataset.json: those of the source `folder`, and the tile settings."""
    return {**folder.metadata(params), "tiles": settings(params).document()}


def cut(slides: Sequence[Sample], root: Path, params: Params) -> SlideTiles:
    """Cut slides into tiles.

    Args:
        slides: one sample per slide.
        root: the data root.
        params: section `data` of params.yaml.

    Returns:
        The slides and their tiles.

    Raises:
        InputError: see `medtune.data.slide_tiles.cut_slides`.
    """
    reject = params.on_bad_image == "reject"
    return cut_slides(
        slides,
        root,
        settings(params),
        lambda slide: given_mpp(slide, params),
        reject,
        lambda slide: table_mpp(slide, params),
    )


def settings(params: Params) -> TileSettings:
    """Convert the params to the tile settings that serving also uses."""
    tiles = params.tiles
    return TileSettings(
        tiles.size_um, params.image_size, tiles.overlap, tiles.max_per_slide, tiles.min_tissue, tiles.seed
    )


def given_mpp(sample: Sample, params: Params) -> float | None:
    """Return the micrometers per pixel that the user set for a slide.

    Args:
        sample: the slide.
        params: section `data` of params.yaml.

    Returns:
        The value of the table. If the table has none, the value of `data.tiles.mpp`, or None.

    Raises:
        InputError: the table has no column `data.tiles.mpp_column`, or the cell is not a number within `MPP_RANGE`.
    """
    mpp = table_mpp(sample, params)
    return params.tiles.mpp if mpp is None else mpp


def table_mpp(sample: Sample, params: Params) -> float | None:
    """Return the micrometers per pixel that the table states for a slide, or None. Raise the errors of `given_mpp`."""
    column = params.tiles.mpp_column
    if column is None:
        return None
    if column not in sample.metadata:
        others = (
            f"other columns: {', '.join(sample.metadata)}" if sample.metadata else "found only path, label and patient"
        )
        raise InputError(f"data.tiles.mpp_column={column}: {params.csv} has no such column; {others}. Correct the name")
    cell = sample.metadata[column].strip().replace(",", ".")
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not MPP_RANGE[0] <= value <= MPP_RANGE[1]:
        raise InputError(
            f"{sample.where}: {column} is {cell!r}; expected micrometers per pixel, "
            f"{MPP_RANGE[0]:g} to {MPP_RANGE[1]:g}. Correct the cell"
        )
    return value


def _check_suffix(sample: Sample) -> None:
    """Reject a file that is not a readable whole-slide image."""
    suffix, place = PurePosixPath(sample.path).suffix.lower(), sample.where or printable(sample.path)
    if suffix in OTHER_SUFFIXES:
        raise InputError(f"{place}: {suffix} files cannot be read. {CONVERT}")
    if suffix not in SUFFIXES:
        raise InputError(
            f"{place}: {printable(sample.path)} is not a whole-slide image ({', '.join(SUFFIXES)}). For other images "
            f"use {set_option('data.source', 'folder')}"
        )


def example(root: Path) -> dict[str, object]:
    """Write tiny slides in this layout to `root` and return the params that read them."""
    from medtune.data.synthetic.slide import write_slide

    for number in range(12):
        write_slide(root / ("no", "yes")[number % 2] / f"P{number}_1.tif", number, side=256)
    return {"patient_pattern": r"(P\d+)_", "tiles": {"size_um": 32.0}, "image_size": 32}

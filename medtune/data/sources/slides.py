"""Source `slides`: whole-slide images, cut into tiles; one folder per class, or a table as for source folder."""

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, model_validator

from medtune.config.base import StrictParams
from medtune.config.errors import InputError, set_option
from medtune.data.sample import Sample
from medtune.data.slide_tiles import COLUMNS, SlideTiles, cut_slides
from medtune.data.sources import folder
from medtune.serving.folder_scan import printable
from medtune.serving.slides.pixel_size import MPP_RANGE
from medtune.serving.slides.slide import CONVERT, OTHER_SUFFIXES, SUFFIXES
from medtune.serving.slides.tiling import TileSettings

NAME = "local whole-slide images"
LICENSE = "as given by the owner of the slides"
CITATION = "none given"
KNOWN_ISSUES: tuple[str, ...] = ()


class TileParams(StrictParams):
    """How slides become tiles; each tile becomes an image of data.image_size pixels."""

    size_um: Annotated[float, Field(gt=0)] = Field(256.0, description="side of a tile in micrometres")
    overlap: Annotated[float, Field(ge=0, le=0.9)] = Field(0.0, description="share of a side that neighbors repeat")
    max_per_slide: Annotated[int, Field(ge=1)] | None = Field(
        200, description="most tiles of a slide, drawn by seed and content; null: all"
    )
    min_tissue: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="least share of a tile that is tissue")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="of the choice among more than max_per_slide tiles")
    mpp: Annotated[float, Field(ge=MPP_RANGE[0], le=MPP_RANGE[1])] | None = Field(
        None, description="micrometres per pixel of slides whose file does not state it"
    )
    mpp_column: str | None = Field(None, description="column of data.csv with micrometres per pixel, likewise")


class Params(folder.Params):
    """Where slides, labels and patients come from, and how slides are cut into tiles."""

    source: Literal["slides"] = "slides"  # type: ignore[assignment]
    tiles: TileParams = TileParams()

    @model_validator(mode="after")
    def _column_needs_a_table(self) -> "Params":
        if self.tiles.mpp_column is not None and self.csv is None:
            raise ValueError("tiles.mpp_column names a column, but data.csv is null: name the table")
        return self

    @model_validator(mode="after")
    def _one_class_per_slide(self) -> "Params":
        if self.label_type not in ("nominal", "ordinal"):
            raise ValueError(f"label_type is {self.label_type}, but a slide has one class: use nominal or ordinal")
        return self


def classes(params: Params) -> tuple[str, ...]:
    """Class names in the order asked for; empty where the files decide."""
    return folder.classes(params)


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """Every slide, sorted by path.

    Raises:
        InputError: as for source folder, or files that are no slides.
    """
    samples = folder.list_samples(root, params, (*SUFFIXES, *OTHER_SUFFIXES))
    if taken := [name for name in samples[0].metadata if name in COLUMNS]:
        raise InputError(f"{params.csv}: the column {taken[0]!r} has a name that tiles use. Rename it")
    for sample in samples:
        _check_suffix(sample)
        given_mpp(sample, params)
    return samples


def inputs(root: Path | None, params: Params) -> list[Path]:
    """The table, where there is one."""
    return folder.inputs(root, params)


def metadata(params: Params) -> dict[str, object]:
    """Entries of dataset.json: how slides were cut, and whether the classes are ordered."""
    return {**folder.metadata(params), "tiles": settings(params).document()}


def cut(slides: Sequence[Sample], root: Path, params: Params) -> SlideTiles:
    """Cut slides into tiles.

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
    """How slides are cut into tiles."""
    tiles = params.tiles
    return TileSettings(
        tiles.size_um, params.image_size, tiles.overlap, tiles.max_per_slide, tiles.min_tissue, tiles.seed
    )


def given_mpp(sample: Sample, params: Params) -> float | None:
    """Micrometres per pixel that the table or the params give for a slide.

    Raises:
        InputError: the column is missing or its cell is no such number.
    """
    found = table_mpp(sample, params)
    return params.tiles.mpp if found is None else found


def table_mpp(sample: Sample, params: Params) -> float | None:
    """Micrometres per pixel that the table gives for a slide; errors as for `given_mpp`."""
    column = params.tiles.mpp_column
    if column is None:
        return None
    if column not in sample.metadata:
        others = f"other columns: {', '.join(sample.metadata)}" if sample.metadata else "path, label and group are all"
        raise InputError(
            f"data.tiles.mpp_column={column}: {params.csv} has no such column; {others}. Name the right one"
        )
    cell = sample.metadata[column].strip().replace(",", ".")
    if not cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not MPP_RANGE[0] <= value <= MPP_RANGE[1]:
        raise InputError(
            f"{sample.where}: {column} is {cell!r}; expected micrometres per pixel, "
            f"{MPP_RANGE[0]:g} to {MPP_RANGE[1]:g}"
        )
    return value


def _check_suffix(sample: Sample) -> None:
    suffix, name = PurePosixPath(sample.path).suffix.lower(), sample.where or printable(sample.path)
    if suffix in OTHER_SUFFIXES:
        raise InputError(f"{name}: {suffix} files cannot be read. {CONVERT}")
    if suffix not in SUFFIXES:
        raise InputError(
            f"{name}: {printable(sample.path)} is no whole-slide image ({', '.join(SUFFIXES)}). For single images use "
            f"{set_option('data.source', 'folder')}"
        )


def example(root: Path) -> dict[str, object]:
    """Write tiny slides in this layout to `root` and return the params that read them."""
    from medtune.data.synthetic.slide import write_slide

    for number in range(12):
        write_slide(root / ("no", "yes")[number % 2] / f"P{number}_1.tif", number, side=256)
    return {"patient_pattern": r"(P\d+)_", "tiles": {"size_um": 32.0}, "image_size": 32}

"""Source `folder`: your own images, one folder a class, or a CSV with columns path, label and (for patients) group."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal, TextIO

from pydantic import Field, field_validator

from medtune.config.errors import InputError
from medtune.config.schema import DataParams
from medtune.data import listing
from medtune.data.example import write_image
from medtune.data.sample import Sample
from medtune.runtime.console import info

NAME = "local images"
LICENSE = "as given by the owner of the images"
CITATION = "none given"
KNOWN_ISSUES: tuple[str, ...] = ()
MISSING = ("", "nan")


class Params(DataParams):
    """Where labels and groups come from."""

    source: Literal["folder"] = "folder"
    csv: str | None = Field(None, description="table in root with columns path, label[, group]; null: class folders")
    group_pattern: str | None = Field(
        None, description="regex on the path whose first (...) is the patient: '/(P[0-9]+)_'; null: none, or the CSV's"
    )
    class_names: list[str] | None = Field(None, description="order of the classes; null: sorted by name")

    @field_validator("group_pattern")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from None
            if not groups:
                raise ValueError("put (...) round the part of the path that names the patient")
        return pattern

    @field_validator("class_names")
    @classmethod
    def _different(cls, names: list[str] | None) -> list[str] | None:
        if names is not None and len(set(names)) < max(2, len(names)):
            raise ValueError("name at least two classes, each once")
        return names


def classes(params: Params) -> tuple[str, ...]:
    """Class names in the order asked for; empty where the files decide."""
    return tuple(params.class_names or ())


def list_samples(root: Path | None, params: Params) -> list[Sample]:
    """Every image, sorted by path.

    Raises:
        InputError: nothing found, or a label, path or group missing, unknown, or out of the root.
    """
    root = listing.require_root(root)
    if not root.is_dir():
        raise InputError(f"data.root {root}: source folder needs a folder")
    rows = list(_by_table(root, params.csv) if params.csv else _by_folder(root))
    if not rows:
        raise InputError(f"data.root {root}: no images; expected one folder a class, or data.csv")
    found: dict[str, Sample] = {}
    for path, label, group, extra in rows:
        if params.class_names and label not in params.class_names:
            raise InputError(f"{path}: label {label!r} is not in data.class_names ({', '.join(params.class_names)})")
        if path in found:
            raise InputError(f"{path} is listed twice in {params.csv}")
        if params.group_pattern is not None:
            match = re.search(params.group_pattern, path)
            if match is None or not match[1]:
                raise InputError(f"{path}: data.group_pattern {params.group_pattern!r} finds no patient in it")
            group = match[1]
        found[path] = Sample(path, label, group, extra)
    return [found[path] for path in sorted(found)]


def inputs(root: Path | None, params: Params) -> list[Path]:
    """The table, where there is one."""
    return [listing.require_root(root) / params.csv] if params.csv else []


_Row = tuple[str, str, str | None, dict[str, str]]


def _by_folder(root: Path) -> Iterator[_Row]:
    found = listing.find_files(root)
    filled = {PurePosixPath(path).parts[0] for path in found}
    for entry in sorted(root.iterdir()):
        if entry.is_dir() and not entry.name.startswith((".", "__MACOSX")) and entry.name not in filled:
            raise InputError(f"class folder {entry} holds no images; fill it or take it away")
    for path in found:
        parts = PurePosixPath(path).parts
        if len(parts) == 1:
            raise InputError(f"{root / path} lies in no class folder; move it into one, or name a table in data.csv")
        yield path, parts[0], None, {}


def _by_table(root: Path, name: str) -> Iterator[_Row]:
    table = root / name
    if not table.is_file():
        raise InputError(f"data.csv is {name!r}: {table} does not exist")
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            yield from _rows(stream, table)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{table}: not a CSV in UTF-8: {error}") from None


def _rows(stream: TextIO, table: Path) -> Iterator[_Row]:
    reader = csv.DictReader(stream, strict=True)
    columns = [column or "" for column in reader.fieldnames or []]
    if missing := [column for column in ("path", "label") if column not in columns]:
        raise InputError(f"{table}: no column {' and no '.join(missing)}; found {', '.join(columns)}")
    if "group" not in columns:
        info(f"{table.name}: no column group, so no patients are known; found {', '.join(columns)}")
    for row in reader:
        where = f"{table} line {reader.line_num}"
        if None in row or None in row.values():
            raise InputError(f"{where}: expected {len(columns)} fields, as in the header")
        for column in ("path", "label", "group"):
            if column in row and row[column].strip().lower() in MISSING:
                raise InputError(f"{where}: {column} is {row[column]!r}; every image needs one")
        path = PurePosixPath(row["path"].strip().replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise InputError(f"{where}: path {row['path']!r} leads out of data.root; write it relative to that")
        extra = {key: value for key, value in row.items() if key not in ("path", "label", "group")}
        group = row["group"].strip() if "group" in row else None
        yield path.as_posix(), row["label"].strip(), group, extra


def example(root: Path) -> dict[str, object]:
    """Write a tiny data set in this layout to `root` and return the params that read it."""
    for number in range(12):
        write_image(root / ("no", "yes")[number % 2] / f"P{number}_1.png", number)
    return {"group_pattern": r"(P\d+)_"}

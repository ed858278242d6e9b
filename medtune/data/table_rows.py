"""Conversion of table rows to samples."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from medtune.config.errors import InputError, fill_in, set_option
from medtune.data.label_params import LabelParams
from medtune.data.sample import Sample
from medtune.data.table import Table, check_rows
from medtune.data.table_paths import PATH, SHOWN


def check_table(table: Table, params: LabelParams) -> None:
    """Reject a table without rows, and params that name a column which the protocol does not use.

    Args:
        table: the table.
        params: section `data` of params.yaml.

    Raises:
        InputError: the table has no rows, `columns.split` is set without protocol `column`, or `columns.site` is set
            without protocol `site`.
    """
    check_rows(table, f"data.csv={params.csv}", "path,label", "image")
    for what, protocol in (("split", "column"), ("site", "site")):
        name = getattr(params.columns, what)
        if name is not None and params.split.protocol != protocol:
            raise InputError(
                f"data.columns.{what}={name}: protocol {params.split.protocol} does not use this column. "
                f"Add {set_option('data.split.protocol', protocol)}, or remove data.columns.{what}"
            )


def read_rows(table: Table, positions: Mapping[str, int], root: Path, path_format: str) -> list[Sample]:
    """Convert each row to a sample, with the cells of all other columns as metadata.

    Args:
        table: the table.
        positions: index of the column path and of any of the columns label, patient and split, by default name.
        root: the data root.
        path_format: `data.path_format`, in which the cell of the column path replaces {path}.

    Returns:
        One sample per row, in the order of the table.

    Raises:
        InputError: a cell of these columns is empty, or contains a formula, a tab or several lines. Also if a path is
            outside of the data root.
    """
    samples: list[Sample] = []
    empty: dict[str, list[str]] = {}
    others = [i for i in range(len(table.columns)) if i not in positions.values()]
    for number, row in table.rows:
        cells = {what: row[i].strip() for what, i in positions.items()}
        where = table.where(number)
        for what, cell in cells.items():
            if not cell:
                empty.setdefault(f"{what} is {row[positions[what]]!r}", []).append(where)
            if cell.startswith("="):
                raise InputError(f"{where}: {what} is {cell!r}, a formula. Replace formulas by their values")
            if "\n" in cell or "\r" in cell or "\t" in cell:
                raise InputError(f"{where}: {what} is {cell!r}: expected one line of text. Remove line breaks and tabs")
        if not cells["path"]:
            continue
        path = PurePosixPath(path_format.replace(PATH, cells["path"]).replace("\\", "/"))
        if path.is_relative_to(root.as_posix()):
            path = path.relative_to(root.as_posix())
        if (
            path.is_absolute()
            or path.as_posix() == "."
            or ".." in path.parts
            or re.match(r"[A-Za-z]:/", path.as_posix())
        ):
            raise InputError(f"{where}: path {cells['path']!r} is outside of data.root. Write it relative to data.root")
        metadata = {table.columns[i]: row[i] for i in others}
        samples.append(Sample(path.as_posix(), cells.get("label", ""), cells.get("patient"), metadata, where=where))
    if empty:
        parts = [
            f"{', '.join(rows[:SHOWN])}{f' and {len(rows) - SHOWN:,} more' * (len(rows) > SHOWN)}: {what}"
            for what, rows in empty.items()
        ]
        raise InputError(f"{'; '.join(parts)}; every image needs a value. {fill_in(sum(map(len, empty.values())))}")
    return samples

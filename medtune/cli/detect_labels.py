"""Whether a table has several labels per image: a column of 0 and 1 per finding, or cells that list them."""

from collections import Counter
from collections.abc import Mapping

from medtune.cli.detected import DetectedData
from medtune.data.findings import NO_FINDING
from medtune.data.identifiers import squeeze
from medtune.data.label_table import NO_LABEL, VALUES
from medtune.data.table import Table

# Of the separators in use only this one is in no name of a class.
SEPARATOR = "|"
MIN_COLUMNS = 2
# Labels of images without findings, as `squeeze` spells them.
NONE = NO_LABEL
# Columns of 0 and 1 that are no findings.
NOT_FINDINGS = {
    "sex",
    "gender",
    "male",
    "female",
    "train",
    "val",
    "valid",
    "validation",
    "test",
    "fold",
    "split",
    "age",
}


def finding_columns(table: Table, used: set[int]) -> list[str]:
    """Columns that hold 0 and 1 in every row, and both of them; empty where there are fewer than two.

    Args:
        table: the table.
        used: positions of the path and the patient.
    """
    found = []
    for position, name in enumerate(table.columns):
        cells = {VALUES.get(row[position].strip().casefold()) for _, row in table.rows}
        if position not in used and cells == {False, True} and name.casefold() not in NOT_FINDINGS:
            found.append(name)
    return found if len(found) >= MIN_COLUMNS else []


def set_columns(names: list[str], table: Table, detected: DetectedData) -> None:
    """Add the settings of one column per finding."""
    detected.settings |= {"task.kind": "multilabel", "data.label_type": "multi", "data.columns.labels": names}
    cells = {name: [row[table.columns.index(name)].strip().casefold() for _, row in table.rows] for name in names}
    _describe({name: sum(bool(VALUES[cell]) for cell in column) for name, column in cells.items()}, detected)


def set_lists(cells: list[str], detected: DetectedData) -> bool:
    """Add the settings of cells that list findings; False where no cell lists several of the table's labels."""
    whole = {cell.strip() for cell in cells}
    lists = [cell for cell in whole if SEPARATOR in cell]
    if not lists or not any(part.strip() in whole for cell in lists for part in cell.split(SEPARATOR)):
        return False
    detected.settings |= {"task.kind": "multilabel", "data.label_type": "multi"}
    beside = {part.strip() for cell in lists for part in cell.split(SEPARATOR)}
    none = sorted(cell for cell in whole - beside if squeeze(cell) in NONE)
    if none and squeeze(none[0]) != squeeze(NO_FINDING):
        detected.settings["data.no_finding"] = none[0]
    _describe(Counter(part.strip() for cell in cells for part in cell.split(SEPARATOR)), detected)
    return True


def _describe(counts: Mapping[str, int], detected: DetectedData) -> None:
    shown = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:8])
    more = f", ... ({len(counts)} findings)" if len(counts) > 8 else ""
    detected.findings.append(("findings", f"{shown}{more}; an image may show several"))

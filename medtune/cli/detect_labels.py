"""Detection of tables with several labels (findings) per image: a binary column per finding, or cells with lists."""

from collections import Counter
from collections.abc import Mapping

from medtune.cli.detected import DetectedData
from medtune.data.findings import NO_FINDING
from medtune.data.identifiers import squeeze
from medtune.data.label_table import NO_LABEL, VALUES
from medtune.data.table import Table

# Separator of the labels in a cell. Other common separators also occur in class names.
SEPARATOR = "|"
MIN_COLUMNS = 2
# Labels of images without findings, as normalized by `squeeze`.
NONE = NO_LABEL
# Names of binary columns that are not findings.
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
    """Find binary columns of findings.

    Args:
        table: table that describes the images.
        used: positions of the path column and the patient column.

    Returns:
        Names of the columns that contain both 0 and 1, and nothing else. Empty if there are fewer than two columns.
    """
    names = []
    for position, name in enumerate(table.columns):
        cells = {VALUES.get(row[position].strip().casefold()) for _, row in table.rows}
        if position not in used and cells == {False, True} and name.casefold() not in NOT_FINDINGS:
            names.append(name)
    return names if len(names) >= MIN_COLUMNS else []


def set_columns(names: list[str], table: Table, detected: DetectedData) -> None:
    """Add the settings and counts for a table with one binary column per finding.

    Args:
        names: names of the binary columns.
        table: table that describes the images.
        detected: result to extend.
    """
    detected.settings |= {"task.kind": "multilabel", "data.label_type": "multi", "data.columns.labels": names}
    cells = {name: [row[table.columns.index(name)].strip().casefold() for _, row in table.rows] for name in names}
    _describe({name: sum(bool(VALUES[cell]) for cell in column) for name, column in cells.items()}, detected)


def set_lists(cells: list[str], detected: DetectedData) -> bool:
    """Add the settings for cells that list findings.

    Args:
        cells: cells of the label column.
        detected: result to extend.

    Returns:
        True if the cells are lists: one cell has several labels, and one of these labels is alone in another cell.
        Otherwise False, and nothing is added.
    """
    values = {cell.strip() for cell in cells}
    lists = [cell for cell in values if SEPARATOR in cell]
    if not lists or not any(part.strip() in values for cell in lists for part in cell.split(SEPARATOR)):
        return False
    detected.settings |= {"task.kind": "multilabel", "data.label_type": "multi"}
    listed = {part.strip() for cell in lists for part in cell.split(SEPARATOR)}
    none = sorted(cell for cell in values - listed if squeeze(cell) in NONE)
    if none and squeeze(none[0]) != squeeze(NO_FINDING):
        detected.settings["data.no_finding"] = none[0]
    _describe(Counter(part.strip() for cell in cells for part in cell.split(SEPARATOR)), detected)
    return True


def _describe(counts: Mapping[str, int], detected: DetectedData) -> None:
    shown = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:8])
    more = f", ... ({len(counts)} findings)" if len(counts) > 8 else ""
    detected.findings.append(("findings", f"{shown}{more}; several per image"))

"""The column of a table that names the split of each image: train, val, test or external (protocol column)."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from medtune.config.errors import InputError, set_option
from medtune.data.columns import find_column
from medtune.data.sample import Sample
from medtune.data.table import Table
from medtune.serving.folder_scan import printable

NAME = "split"
SPLITS = ("train", "val", "test", "external")
# What other programs and people write for each.
ALIASES = {
    "train": ("training", "trn", "tr"),
    "val": ("valid", "validation", "validate", "dev", "development", "tune", "tuning"),
    "test": ("testing", "tst", "te", "holdout", "hold-out", "hold out", "internal test", "eval", "evaluation"),
    "external": (
        "ext",
        "external test",
        "external_test",
        "external-test",
        "external validation",
        "external_validation",
    ),
}
_SHOWN = 5


def find_split_column(table: Table, name: str | None) -> int:
    """Return the position of the column.

    Args:
        table: the table.
        name: `data.columns.split`; None: `split`.

    Raises:
        InputError: there is no such column.
    """
    position = find_column(table, name or NAME)
    if position is None:
        raise InputError(
            f"data.split.protocol=column: {table.name} has no column {name or NAME}; found {', '.join(table.columns)}. "
            f"Name it with {set_option('data.columns.split', 'NAME')}"
        )
    return position


def read_splits(table: Table, position: int) -> list[str]:
    """Return the split of each row.

    Args:
        table: the table.
        position: of the column.

    Raises:
        InputError: values other than train, val, test and external in any case; names each, its number of rows and
            what is probably meant.
    """
    cells = [" ".join(row[position].split()) for _, row in table.rows]
    wrong = Counter(cell for cell in cells if cell.casefold() not in SPLITS)
    if not wrong:
        return [cell.casefold() for cell in cells]
    values = sorted(wrong, key=lambda value: (-wrong[value], value))
    shown = ", ".join(f"{value!r} in {wrong[value]:,} row{'s' * (wrong[value] > 1)}" for value in values[:_SHOWN])
    more = f" and {len(values) - _SHOWN:,} more values" if len(values) > _SHOWN else ""
    meant = {value: split for value in values for split, names in ALIASES.items() if value.casefold() in names}
    fix = "; ".join(f"write {split} for {value!r}" for value, split in list(meant.items())[:_SHOWN])
    raise InputError(
        f"{table.name}: column {table.columns[position]} has {shown}{more}; expected train, val, test or external. "
        f"{fix[:1].upper() + fix[1:] if fix else 'Correct them, or remove these rows'}"
    )


def check_patients(samples: Sequence[Sample]) -> None:
    """Refuse a patient in two splits.

    Raises:
        InputError: names the first patient, its splits and rows, and how many more there are.
    """
    places: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for sample in samples:
        if sample.patient_id is not None and sample.published_splits is not None:
            places[sample.patient_id].setdefault(sample.published_splits[0], sample.where or printable(sample.path))
    leaked = [patient for patient, found in places.items() if len(found) > 1]
    if leaked:
        found = " and ".join(f"{split} ({where})" for split, where in places[leaked[0]].items())
        more = f"; {len(leaked) - 1:,} more patients are in several splits" if len(leaked) > 1 else ""
        raise InputError(
            f"data.split.protocol=column: patient {leaked[0]} is in {found}{more}. Put all images of a patient into "
            "one split"
        )

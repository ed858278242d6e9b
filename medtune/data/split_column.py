"""Split of each image (train, val, test or external) from a column of the table, for protocol `column`."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from medtune.config.errors import InputError
from medtune.data.columns import require_column
from medtune.data.sample import Sample
from medtune.data.table import Table
from medtune.serving.folder_scan import printable

NAME = "split"
SPLITS = ("train", "val", "test", "external")
# Common other names of the splits, for which the error message proposes the fix.
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
    """Return the index of the split column.

    Args:
        table: the table.
        name: `data.columns.split`; None: `split`.

    Returns:
        Index into `table.columns`.

    Raises:
        InputError: there is no such column.
    """
    return require_column(table, NAME, name, "column")


def read_splits(table: Table, position: int) -> list[str]:
    """Return the split of each row.

    Args:
        table: the table.
        position: index of the column.

    Returns:
        The split per row, in lower case.

    Raises:
        InputError: a value is not train, val, test or external. The message lists the values with their number of
            rows and the split that is probably meant.
    """
    cells = [" ".join(row[position].split()) for _, row in table.rows]
    invalid = Counter(cell for cell in cells if cell.casefold() not in SPLITS)
    if not invalid:
        return [cell.casefold() for cell in cells]
    values = sorted(invalid, key=lambda value: (-invalid[value], value))
    shown = ", ".join(f"{value!r} in {invalid[value]:,} row{'s' * (invalid[value] > 1)}" for value in values[:_SHOWN])
    more = f" and {len(values) - _SHOWN:,} more values" if len(values) > _SHOWN else ""
    meant = {value: split for value in values for split, names in ALIASES.items() if value.casefold() in names}
    fix = "; ".join(f"write {split} for {value!r}" for value, split in list(meant.items())[:_SHOWN])
    raise InputError(
        f"{table.name}: column {table.columns[position]} has {shown}{more}; expected train, val, test or external. "
        f"{fix[:1].upper() + fix[1:] if fix else 'Correct them in the column, or remove their rows'}"
    )


def check_patients(samples: Sequence[Sample]) -> None:
    """Reject patients with images in several splits.

    Args:
        samples: samples with `published_splits` of one fold.

    Raises:
        InputError: a patient is in several splits. The message names the first patient with its splits and rows.
    """
    rows_by_split: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for sample in samples:
        if sample.patient_id is not None and sample.published_splits is not None:
            rows_by_split[sample.patient_id].setdefault(
                sample.published_splits[0], sample.where or printable(sample.path)
            )
    leaked = [patient for patient, rows in rows_by_split.items() if len(rows) > 1]
    if leaked:
        splits = " and ".join(f"{split} ({where})" for split, where in rows_by_split[leaked[0]].items())
        more = f"; {len(leaked) - 1:,} more patients are in several splits" if len(leaked) > 1 else ""
        raise InputError(
            f"data.split.protocol=column: patient {leaked[0]} is in {splits}{more}. Put all images of a patient into "
            "one split"
        )

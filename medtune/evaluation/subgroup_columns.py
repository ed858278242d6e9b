"""Subgroups of the images, from the columns that `evaluate.by` names."""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.config.errors import InputError
from medtune.config.schema import EvaluateParams
from medtune.data.identifiers import label_key, similar, spell
from medtune.data.metadata import find_metadata_column, metadata_values

NOT_RECORDED = "not recorded"
MAX_VALUES = 12


@dataclass(frozen=True)
class SubgroupColumn:
    """Column that divides the images into subgroups.

    Attributes:
        name: name of the column, as in the table.
        values: (n,) subgroup of each image of the dataset.
        order: all subgroups in the order of tables. Images without a value are the last subgroup.
    """

    name: str
    values: npt.NDArray[Any]
    order: tuple[str, ...]


def subgroup_columns(
    options: EvaluateParams, columns: Mapping[str, Sequence[str]], allowed: Sequence[str] = ()
) -> list[SubgroupColumn]:
    """Divide the images by each column of `evaluate.by`.

    Args:
        options: section `evaluate` of the params.
        columns: value of each image by name of the column. A missing value is an empty string.
        allowed: values that otherwise count as missing (`data.allow_values`).

    Returns:
        One entry per column.

    Raises:
        InputError: a column does not exist or is named twice. A column has too many values, or values that differ only
            in spelling. A column in `evaluate.bins` has a value that is not a number.
    """
    known = tuple(columns)
    by_name = {name: find_metadata_column(known, name, "evaluate.by") for name in options.by}
    if len(set(by_name.values())) < len(by_name):
        raise InputError(
            f"evaluate.by={', '.join(options.by)}: two names mean the same column. Name every column once."
        )
    return [
        _divide(column, metadata_values(columns[column], allowed), options.bins.get(name))
        for name, column in by_name.items()
    ]


def _divide(name: str, cells: Sequence[str | None], limits: Sequence[float] | None) -> SubgroupColumn:
    """Divide the images by the values of a column, or by the ranges between `limits`."""
    values = [NOT_RECORDED if cell is None else " ".join(cell.split()) for cell in cells]
    recorded = Counter(value for value in values if value != NOT_RECORDED)
    if limits is not None:
        values, order = _in_ranges(name, values, limits)
    else:
        _check_values(name, recorded)
        order = _sorted(recorded)
    if NOT_RECORDED in values:
        order = [*order, NOT_RECORDED]
    return SubgroupColumn(name, np.array(values, dtype=np.str_), tuple(order))


def _check_values(name: str, recorded: Counter[str]) -> None:
    """Raise InputError if there are too many values, or values that differ only in spelling."""
    if len(recorded) > MAX_VALUES:
        numbers = [_number(value) for value in recorded]
        if all(number is not None for number in numbers):
            middle = sorted(number for number in numbers if number is not None)[len(numbers) // 2]
            fix = f"Divide the numbers into ranges with evaluate.bins={{{name}: [{middle:g}]}}"
        else:
            fix = "Use a column with fewer values"
        raise InputError(
            f"evaluate.by={name}: the column has {len(recorded):,} different values, at most {MAX_VALUES} are allowed. "
            f"{fix}."
        )
    if sets := similar(recorded.elements(), label_key):
        shown = "; ".join(" and ".join(spell(*spellings)) for spellings in sets)
        raise InputError(
            f"evaluate.by={name}: the values {shown} differ only in case, blanks, Unicode form or a trailing .0. Use "
            "one spelling in the table."
        )


def _in_ranges(name: str, values: Sequence[str], limits: Sequence[float]) -> tuple[list[str], list[str]]:
    """Return the range of each value, and all ranges in ascending order."""
    shown = [repr(limit).removesuffix(".0") for limit in limits]
    names = [f"below {shown[0]}"]
    names += [f"{low} to below {high}" for low, high in itertools.pairwise(shown)]
    names.append(f"{shown[-1]} or more")
    ranges = []
    for value in values:
        if value == NOT_RECORDED:
            ranges.append(value)
            continue
        number = _number(value)
        if number is None:
            raise InputError(
                f"evaluate.bins.{name}: the column has the value {value!r}, which is not a number. Remove this key, or "
                "correct the table."
            )
        ranges.append(names[int(np.searchsorted(limits, number, side="right"))])
    return ranges, names


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _sorted(values: Counter[str]) -> list[str]:
    numbers = {value: _number(value) for value in values}
    if all(number is not None for number in numbers.values()):
        return sorted(values, key=lambda value: (numbers[value] or 0.0, value))
    return sorted(values)

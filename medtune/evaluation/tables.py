"""CSV files of every task: atomic writing, and learning curves joined over folds and stages."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from medtune.runtime.artifact import write_text

Row = Sequence[object]


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Row]) -> None:
    """Writes rows under `header`, atomically, with plain line ends; None becomes an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_history(path: Path) -> list[dict[str, float]]:
    """Rows of a trained artifact's history.csv as numbers; empty cells are left out. Empty if there is no file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(stream)]


def join_history(stages: Sequence[tuple[str, Sequence[Sequence[dict[str, float]]]]]) -> list[dict[str, object]]:
    """One curve through all training stages: means over folds, epochs counted on from stage to stage.

    Args:
        stages: name and, for each fold, the rows of its history.csv, in the order they ran.

    Returns:
        Rows `{epoch, stage, folds, <columns of history.csv>}`; `folds` that reached the epoch.
    """
    joined: list[dict[str, object]] = []
    done = 0
    for stage, folds in stages:
        last = 0
        # Stage 2 begins by scoring stage 1's best again, as epoch 0: a point that is already there.
        for epoch in sorted({int(row["epoch"]) for rows in folds for row in rows} - ({0} if done else set())):
            rows = [row for rows in folds for row in rows if row["epoch"] == epoch]
            names = [n for n in dict.fromkeys(n for row in rows for n in row) if n not in ("epoch", "step", "seconds")]
            means = {n: float(np.mean([row[n] for row in rows if n in row])) for n in names}
            joined.append({"epoch": done + epoch, "stage": stage, "folds": len(rows), **means})
            last = epoch
        done += last
    return joined


def write_history(path: Path, joined: Sequence[dict[str, object]]) -> None:
    """`epoch,stage,folds,lr,train/loss,val/...`, a line an epoch."""
    columns = list(dict.fromkeys(["epoch", "stage", "folds", *(name for row in joined for name in row)]))
    write_csv(path, columns, ([row.get(name) for name in columns] for row in joined))

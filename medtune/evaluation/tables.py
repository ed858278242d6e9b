"""Atomic writing of CSV files, and learning curves joined over folds and stages."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from medtune.runtime.artifact import write_text

Row = Sequence[object]


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Row]) -> None:
    """Write `header` and rows atomically, with Unix line ends; None becomes an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_history(path: Path) -> list[dict[str, float]]:
    """Read history.csv as numbers without empty cells; return an empty list if the file does not exist."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(stream)]


def join_history(stages: Sequence[tuple[str, Sequence[Sequence[dict[str, float]]]]]) -> list[dict[str, object]]:
    """Join the learning curves of all training stages, averaged over folds; epochs continue between stages.

    Args:
        stages: name of each stage and the rows of history.csv per fold, in the order of training.

    Returns:
        Rows `{epoch, stage, folds, <columns of history.csv>}`. `folds` is the number of folds that reached the epoch.
    """
    joined: list[dict[str, object]] = []
    done = 0
    for stage, folds in stages:
        last = 0
        # Epoch 0 of stage 2 evaluates the best network of stage 1 again, which the curve already has.
        for epoch in sorted({int(row["epoch"]) for rows in folds for row in rows} - ({0} if done else set())):
            rows = [row for rows in folds for row in rows if row["epoch"] == epoch]
            names = [n for n in dict.fromkeys(n for row in rows for n in row) if n not in ("epoch", "step", "seconds")]
            means = {n: float(np.mean([row[n] for row in rows if n in row])) for n in names}
            joined.append({"epoch": done + epoch, "stage": stage, "folds": len(rows), **means})
            last = epoch
        done += last
    return joined


def write_history(path: Path, joined: Sequence[dict[str, object]]) -> None:
    """Write the result of `join_history`: columns `epoch,stage,folds,lr,train/loss,val/...`, one line per epoch."""
    columns = list(dict.fromkeys(["epoch", "stage", "folds", *(name for row in joined for name in row)]))
    write_csv(path, columns, ([row.get(name) for name in columns] for row in joined))

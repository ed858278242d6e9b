"""The CSV files of artifacts/evaluate: predictions, and what DVC draws its plots from."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medtune.runtime.artifact import write_text
from medtune.tasks.classification.folds import Scored
from medtune.tasks.classification.ranking import Floats, roc_curve
from medtune.tasks.classification.reliability import reliability

if TYPE_CHECKING:
    from medtune.data.manifest import Prepared

Row = Sequence[object]
Curves = dict[str, tuple[Floats, Floats]]


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Row]) -> None:
    """Writes rows under `header`, atomically, with plain line ends; None becomes an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_predictions(path: Path, prepared: "Prepared", scored: Scored) -> None:
    """`path,group,label,prediction,prob_<class>...`, one line a test image of each chain."""
    classes = prepared.classes
    rows = (
        [prepared.paths[row], group, classes[label], classes[prediction], *(f"{p:.9g}" for p in probabilities)]
        for row, group, label, prediction, probabilities in zip(
            scored.rows, scored.groups, scored.labels, scored.predictions, scored.probabilities, strict=True
        )
    )
    write_csv(path, ["path", "group", "label", "prediction", *(f"prob_{name}" for name in classes)], rows)


def write_confusion(path: Path, classes: tuple[str, ...], scored: Scored) -> None:
    """`actual,predicted`, one line an image: DVC's confusion template counts them."""
    write_csv(
        path,
        ["actual", "predicted"],
        ([classes[a], classes[p]] for a, p in zip(scored.labels, scored.predictions, strict=True)),
    )


def roc_curves(classes: tuple[str, ...], scored: Scored) -> Curves:
    """False and true positive rates by class: of class 1 where there are two, else one-vs-rest.

    Classes without both positives and negatives are left out, and so are points on a straight line.
    """
    found = {}
    for k in [1] if len(classes) == 2 else range(len(classes)):
        positive = scored.labels == k
        if positive.any() and not positive.all():
            false, true = roc_curve(positive, scored.probabilities[:, k])
            bend = np.ones(len(false), bool)
            bend[1:-1] = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
            found[classes[k]] = (false[bend], true[bend])
    return found


def write_roc(path: Path, curves: Curves) -> None:
    """`fpr,tpr,class`, a line a point."""
    rows = (
        [f"{x:.6g}", f"{y:.6g}", name] for name, (fpr, tpr) in curves.items() for x, y in zip(fpr, tpr, strict=True)
    )
    write_csv(path, ["fpr", "tpr", "class"], rows)


def write_reliability(path: Path, scored: Scored, bins: int) -> None:
    """`confidence,accuracy,images,lower,upper,calibration`, before and after temperature scaling."""
    columns = ["confidence", "accuracy", "images", "lower", "upper"]
    rows = [
        [*(row[name] for name in columns), said]
        for said, probabilities in (("before", scored.raw), ("after", scored.probabilities))
        for row in reliability(scored.labels, probabilities, bins)
    ]
    write_csv(path, [*columns, "calibration"], rows)


def patient_rows(scored: Scored) -> list[dict[str, object]]:
    """`{group, images, right, label}` for each patient, lowest share right first; `label`: the commonest index."""
    found = []
    for group in np.unique(scored.groups):
        mine = scored.groups == group
        label = int(np.bincount(scored.labels[mine]).argmax())
        found.append(
            {"group": str(group), "images": int(mine.sum()), "right": scored.right[mine].mean(), "label": label}
        )
    return sorted(found, key=lambda row: (row["right"], row["group"]))


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


def order_by_confidence(scored: Scored, right: bool) -> npt.NDArray[np.int64]:
    """Positions in `scored` of the right (or wrong) predictions, the most confident first."""
    chosen = np.flatnonzero(scored.right == right)
    confidence = scored.probabilities[chosen, scored.predictions[chosen]]
    return chosen[np.argsort(-confidence, kind="stable")]

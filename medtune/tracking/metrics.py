"""An evaluation on W&B's record: every figure of metrics.json in the summary, and the pictures that show no patient."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtune.tracking.run import Run

# Of evaluate's pictures. `mistakes` and `hits` are images of patients, `patients` names them.
PICTURES = ("confusion", "roc", "reliability", "history")
FACTS = ("n_images", "n_groups", "protocol", "stage", "best_fold", "intervals", "warnings")


def record(run: Run, metrics: dict[str, Any], pictures: Sequence[Path]) -> None:
    """Logs an evaluation.

    Args:
        run: of stage evaluate.
        metrics: metrics.json.
        pictures: all of the evaluation's.
    """
    run.attempt(lambda _: _log(run, metrics, pictures))


def summary(metrics: dict[str, Any]) -> dict[str, Any]:
    """Every figure of metrics.json by its name in W&B: `test/auroc`, `test/auroc_lo`, `fold_1/val/auroc`, ..."""
    found: dict[str, Any] = {name: metrics[name] for name in FACTS if name in metrics}
    for name, one in metrics["test"].items():
        found |= {f"test/{name}": one["value"], f"test/{name}_lo": one.get("lo"), f"test/{name}_hi": one.get("hi")}
    found |= {f"val/{name}": value for name, value in metrics["validation"].items()}
    for row in metrics.get("per_class", []):
        found |= {f"class/{row['class']}/{name}": value for name, value in row.items() if name != "class"}
    for fold in metrics["folds"]:
        own = f"fold_{fold['fold']}"
        found |= {f"{own}/test/{name}": value for name, value in fold["test"].items()}
        found |= {f"{own}/val/{name}": value for name, value in fold["validation"].items()}
        found |= {
            f"{own}/{name}": fold[name] for name in ("kept", "temperature", "n_images", "n_groups") if name in fold
        }
    return found


def _log(run: Run, metrics: dict[str, Any], pictures: Sequence[Path]) -> None:
    run.summary(summary(metrics))
    tested = metrics["test"].items()
    run.table("test/metrics", ("metric", "value", "lo", "hi"),
              [(name, one["value"], one.get("lo"), one.get("hi")) for name, one in tested])  # fmt: skip
    if metrics.get("per_class"):
        run.table("test/classes", list(metrics["per_class"][0]), [list(row.values()) for row in metrics["per_class"]])
    names = list(metrics["folds"][0]["test"])
    columns = ("fold", "kept", *(f"test {name}" for name in names), *(f"val {name}" for name in names))
    run.table("test/folds", columns, [_fold(fold, names) for fold in metrics["folds"]])
    for picture in pictures:
        if picture.stem in PICTURES:
            run.picture(f"test/{picture.stem}", picture)


def _fold(fold: dict[str, Any], names: Sequence[str]) -> list[Any]:
    tested, validated = fold["test"], fold["validation"]
    return [fold["fold"], fold["kept"], *(tested.get(n) for n in names), *(validated.get(n) for n in names)]

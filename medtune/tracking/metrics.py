"""An evaluation on W&B's record: every figure of metrics.json in the summary, and the pictures that show no patient."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtune.data.class_selection import MAX_CLASSES
from medtune.evaluation.subgroup_tables import COLUMNS, table_rows
from medtune.tracking.run import Run

# Of evaluate's pictures. `mistakes` and `hits` are images of patients, `patients` names them.
PLOTS = ("confusion", "roc", "precision_recall", "findings", "reliability", "decision_curve", "history", "subgroups")
# Of the figures of a class: its name, and what the table test/classes has.
NOT_IN_SUMMARY = ("class", "_lo", "_hi", "reason")
ENDS = (("", "value"), ("_lo", "lo"), ("_hi", "hi"))
SET_METRICS = ("coverage", "set_size", "uncertain", "accuracy_if_certain")
CONTEXT_KEYS = ("n_images", "n_groups", "protocol", "stage", "positive", "intervals", "warnings")


def log_evaluation(run: Run, metrics: dict[str, Any], plots: Sequence[Path]) -> None:
    """Logs an evaluation.

    Args:
        run: of stage evaluate.
        metrics: metrics.json.
        plots: all of the evaluation's.
    """
    run.safely(lambda _: _log(run, metrics, plots))


def flatten_metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    """Every figure of metrics.json by its name in W&B: `test/auroc`, `test/auroc_lo`, `fold_1/val/auroc`, ...

    Figures of each class are left out where there are more than `MAX_CLASSES`.
    """
    values: dict[str, Any] = {name: metrics[name] for name in CONTEXT_KEYS if name in metrics}
    for name, interval in metrics["test"].items():
        values |= {
            f"test/{name}": interval["value"],
            f"test/{name}_lo": interval.get("lo"),
            f"test/{name}_hi": interval.get("hi"),
        }
    for part, prefix in (("external_test", "external"), ("cross_validation", "cross_validation")):
        for name, interval in metrics.get(part, {}).get("metrics", {}).items():
            values |= {
                f"{prefix}/{name}": interval["value"],
                f"{prefix}/{name}_lo": interval.get("lo"),
                f"{prefix}/{name}_hi": interval.get("hi"),
            }
        if part in metrics:
            values |= {f"{prefix}/{name}": metrics[part][name] for name in ("n_images", "n_groups")}
    for name, interval in metrics.get("patient_level", {}).get("metrics", {}).items():
        values |= {f"patients/{name}{end}": interval[key] for end, key in ENDS}
    for name in SET_METRICS:
        if name in (sets := metrics.get("prediction_sets", {})):
            values |= {f"sets/{name}{end}": sets[name][key] for end, key in ENDS}
    values |= {f"val/{name}": value for name, value in metrics["validation"].items()}
    per_class = metrics.get("per_class", [])
    # With more classes the table test/classes has them: W&B draws a panel for every key of the summary.
    for row in per_class if len(per_class) <= MAX_CLASSES else ():
        values |= {f"class/{row['class']}/{name}": row[name] for name in row if not name.endswith(NOT_IN_SUMMARY)}
    for fold in metrics["folds"]:
        prefix = f"fold_{fold['fold']}"
        values |= {f"{prefix}/test/{name}": value for name, value in fold["test"].items()}
        values |= {f"{prefix}/val/{name}": value for name, value in fold["validation"].items()}
        values |= {
            f"{prefix}/{name}": fold[name] for name in ("kept", "temperature", "n_images", "n_groups") if name in fold
        }
    return values


def _log(run: Run, metrics: dict[str, Any], plots: Sequence[Path]) -> None:
    run.summary(flatten_metrics(metrics))
    tested = metrics["test"].items()
    rows = [(name, interval["value"], interval.get("lo"), interval.get("hi")) for name, interval in tested]
    run.table("test/metrics", ("metric", "value", "lo", "hi"), rows)
    if metrics.get("per_class"):
        run.table("test/classes", list(metrics["per_class"][0]), [list(row.values()) for row in metrics["per_class"]])
    names = list(metrics["folds"][0]["test"])
    columns = ("fold", "kept", *(f"test {name}" for name in names), *(f"val {name}" for name in names))
    run.table("test/folds", columns, [_fold_row(fold, names) for fold in metrics["folds"]])
    if rows := metrics.get("more_patients", {}).get("classes"):
        columns = ("class", "patients", "recall", "lo", "hi", "more_patients")
        run.table("test/more_patients", columns, [[row.get(name) for name in columns] for row in rows])
    if metrics.get("subgroups"):
        run.table("test/subgroups", COLUMNS, list(table_rows(metrics["subgroups"])))
    for plot in plots:
        if plot.stem in PLOTS:
            run.image(f"test/{plot.stem}", plot)


def _fold_row(fold: dict[str, Any], names: Sequence[str]) -> list[Any]:
    tested, validated = fold["test"], fold["validation"]
    return [fold["fold"], fold["kept"], *(tested.get(n) for n in names), *(validated.get(n) for n in names)]

"""Evaluation results in W&B: all metrics of metrics.json, and the plots that show no patient."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtune.data.class_selection import MAX_CLASSES
from medtune.evaluation.subgroup_tables import COLUMNS, table_rows
from medtune.tracking.run import Run

# Plots that may be uploaded. `errors`, `correct` and `case_*` show images of patients, `patients` shows their names.
PLOTS = ("confusion", "roc", "precision_recall", "findings", "reliability", "decision_curve", "history", "subgroups",
         "dice", "sizes")  # fmt: skip
# Name endings of the per-class values that appear only in the table test/classes.
NOT_IN_SUMMARY = ("class", "_lo", "_hi", "reason")
SUFFIXES = (("", "value"), ("_lo", "lo"), ("_hi", "hi"))  # suffix of the name in W&B, key in metrics.json
SET_METRICS = ("coverage", "set_size", "uncertain", "accuracy_if_certain")
# Keys of metrics.json that are logged unchanged.
CONTEXT_KEYS = ("n_images", "n_patients", "protocol", "stage", "positive", "intervals", "warnings")


def log_evaluation(run: Run, metrics: dict[str, Any], plots: Sequence[Path]) -> None:
    """Log an evaluation.

    Args:
        run: W&B run of stage evaluate.
        metrics: content of metrics.json.
        plots: all plots of the evaluation. Only those in `PLOTS` are uploaded.
    """
    run.safely(lambda _: _log(run, metrics, plots))


def flatten_metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the values of metrics.json by their names in W&B.

    Args:
        metrics: content of metrics.json.

    Returns:
        Values by name, for example `test/auroc`, `test/auroc_lo` or `fold_1/val/auroc`. Per-class values are included
        for at most `MAX_CLASSES` classes.
    """
    values: dict[str, Any] = {name: metrics[name] for name in CONTEXT_KEYS if name in metrics}
    for name, interval in metrics["test"].items():
        values |= _interval_values(f"test/{name}", interval)
    for key, prefix in (("external_test", "external"), ("cross_validation", "cross_validation")):
        for name, interval in metrics.get(key, {}).get("metrics", {}).items():
            values |= _interval_values(f"{prefix}/{name}", interval)
        if key in metrics:
            values |= {f"{prefix}/{name}": metrics[key][name] for name in ("n_images", "n_patients")}
    for entry in metrics.get("controls", []):
        for name, interval in entry.get("test", {}).items():
            values |= _interval_values(f"control/{entry['name']}/{name}", interval)
            values |= _interval_values(f"control/{entry['name']}/difference/{name}", entry["difference"][name])
    for name, interval in metrics.get("patient_level", {}).get("metrics", {}).items():
        values |= _interval_values(f"patients/{name}", interval)
    for name in SET_METRICS:
        if name in (sets := metrics.get("prediction_sets", {})):
            values |= _interval_values(f"sets/{name}", sets[name])
    values |= {f"val/{name}": value for name, value in metrics["validation"].items()}
    per_class = metrics.get("per_class", [])
    # W&B draws one panel per key of the summary, so the values of many classes appear only in the table test/classes.
    for row in per_class if len(per_class) <= MAX_CLASSES else ():
        values |= {f"class/{row['class']}/{name}": row[name] for name in row if not name.endswith(NOT_IN_SUMMARY)}
    for fold in metrics["folds"]:
        prefix = f"fold_{fold['fold']}"
        values |= {f"{prefix}/test/{name}": value for name, value in fold["test"].items()}
        values |= {f"{prefix}/val/{name}": value for name, value in fold["validation"].items()}
        values |= {
            f"{prefix}/{name}": fold[name] for name in ("kept", "temperature", "n_images", "n_patients") if name in fold
        }
    return values


def _interval_values(name: str, interval: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}{suffix}": interval.get(key) for suffix, key in SUFFIXES}


def _log(run: Run, metrics: dict[str, Any], plots: Sequence[Path]) -> None:
    """Log the summary, the tables and the plots."""
    run.summary(flatten_metrics(metrics))
    test_metrics = metrics["test"].items()
    rows = [(name, interval["value"], interval.get("lo"), interval.get("hi")) for name, interval in test_metrics]
    run.table("test/metrics", ("metric", "value", "lo", "hi"), rows)
    if metrics.get("per_class"):
        run.table("test/classes", list(metrics["per_class"][0]), [list(row.values()) for row in metrics["per_class"]])
    if metrics.get("per_label"):
        run.table("test/labels", list(metrics["per_label"][0]), [list(row.values()) for row in metrics["per_label"]])
    names = list(metrics["folds"][0]["test"])
    columns = ("fold", "kept", *(f"test {name}" for name in names), *(f"val {name}" for name in names))
    run.table("test/folds", columns, [_fold_row(fold, names) for fold in metrics["folds"]])
    if rows := metrics.get("more_patients", {}).get("classes"):
        columns = ("class", "patients", "recall", "lo", "hi", "more_patients")
        run.table("test/more_patients", columns, [[row.get(name) for name in columns] for row in rows])
    if controls := [entry for entry in metrics.get("controls", []) if entry["trained"]]:
        run.table("test/controls", ("control", "result"), [(entry["title"], entry["sentence"]) for entry in controls])
    if metrics.get("subgroups"):
        run.table("test/subgroups", COLUMNS, list(table_rows(metrics["subgroups"])))
    for plot in plots:
        if plot.stem in PLOTS:
            run.image(f"test/{plot.stem}", plot)


def _fold_row(fold: dict[str, Any], names: Sequence[str]) -> list[Any]:
    test, validation = fold["test"], fold["validation"]
    return [fold["fold"], fold["kept"], *(test.get(n) for n in names), *(validation.get(n) for n in names)]

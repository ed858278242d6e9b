"""Table results.csv of the benchmark, with one row per trial."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtune.benchmark.report.records import TrialRecord, kind_of
from medtune.evaluation.tables import write_csv
from medtune.tasks import base

# Columns whose values differ if the same trial runs again.
COST_COLUMNS = ("seconds", "images_per_s", "peak_memory_mb")
LEADING_COLUMNS = ("data", "backbone", "method", "percent", "seed", "status", "lr")
TRAILING_COLUMNS = (
    "trainable",
    "head",
    "trainable_fraction",
    "train_images",
    "train_patients",
    "test_images",
    "test_patients",
    "protocol",
    *COST_COLUMNS,
    "device",
    "torch",
    "timm",
    "peft",
    "error",
)


def write_results(path: Path, trials: Sequence[TrialRecord]) -> None:
    """Write one row per trial in the given order. Missing values are empty cells.

    Args:
        path: file to write.
        trials: all trials of the grid, including failed and pending ones.
    """
    present = {name for trial in trials for name in (trial.result or {}).get("metrics", {})}
    kind = kind_of(trial.result or {} for trial in trials)
    known = [metric.name for metric in base.metrics(kind) if metric.name in present]
    metrics = [*known, *sorted(present - set(known))]
    columns = [
        *LEADING_COLUMNS,
        *(f"{name}{suffix}" for name in metrics for suffix in ("", "_lo", "_hi")),
        *TRAILING_COLUMNS,
    ]
    rows = [_row(trial, metrics) for trial in trials]
    write_csv(path, columns, ([_plain(row.get(name)) for name in columns] for row in rows))


def _row(trial: TrialRecord, metrics: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {**vars(trial.identity), "status": trial.status}
    if trial.error is not None:
        row["error"] = " ".join(trial.error.split())
    if trial.status != "done" or trial.result is None:
        return row
    result = trial.result
    for name in metrics:
        entry = result["metrics"].get(name) or {}
        row |= {name: entry.get("value"), f"{name}_lo": entry.get("lo"), f"{name}_hi": entry.get("hi")}
    for name in ("lr", "trainable", "head", "trainable_fraction", "protocol", "device", *COST_COLUMNS):
        row[name] = result.get(name)
    for split in ("train", "test"):
        row |= {f"{split}_{unit}": result.get(unit, {}).get(split) for unit in ("images", "patients")}
    packages = result.get("provenance", {}).get("packages", {})
    return row | {name: packages.get(name) for name in ("torch", "timm", "peft")}


def _plain(value: Any) -> Any:
    """Format floats with six significant digits, and lists of numbers as one cell."""
    if isinstance(value, list):
        return ", ".join(f"{number:.6g}" for number in value)
    return f"{value:.6g}" if isinstance(value, float) else value

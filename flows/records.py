"""Summary of a finished pipeline for Prefect and W&B: steps, test metrics, and links to the outputs."""

import json
from pathlib import Path
from typing import Any

from medtune.config.schema import Params
from medtune.flows.pipeline import StepResult
from medtune.runtime.artifact import read_result
from medtune.runtime.paths import RunPaths
from medtune.tracking.run import run_id, start_run

COLUMNS = ("step", "state", "key", "seconds", "wandb_run")


def step_row(result: StepResult) -> list[Any]:
    """Return the values of `COLUMNS` for a step. For a cached step, `wandb_run` is the run that computed it."""
    key, state = result.step.key, "cached" if result.cached else "ran"
    return [result.step.name, state, key[:12], round(result.seconds, 1), run_id(key)]


def test_metrics(paths: RunPaths) -> dict[str, dict[str, float]]:
    """Read the test metrics of artifacts/evaluate: `value`, and the confidence interval `lo` to `hi`, by metric."""
    text = (paths.stage("evaluate") / "metrics.json").read_text(encoding="utf-8")
    return {name: metric for name, metric in json.loads(text)["test"].items() if isinstance(metric, dict)}


def markdown(paths: RunPaths) -> str:
    """Format the test metrics as a Markdown table, followed by the paths of the report and the bundle."""
    lines = ["| test metric | value | interval |", "|---|---|---|"]
    for name, metric in test_metrics(paths).items():
        lines.append(
            f"| {name} | {_format(metric['value'])} | {_format(metric.get('lo'))} to {_format(metric.get('hi'))} |"
        )
    outputs = {"report": paths.stage("evaluate") / "report.html", "bundle": paths.stage("export")}
    return "\n".join([*lines, "", *(f"{name}: `{path}`  " for name, path in outputs.items())])


def fold_rows(params: Params, paths: RunPaths) -> list[dict[str, Any]]:
    """Return one row per fold: fold, stage with the selected weights, calibration temperature, validation metrics."""
    folds = read_result(paths.stage("evaluate")).get("folds", {})
    rows = []
    for fold in params.data.split.trained_folds:
        result = folds.get(str(fold), {})
        metrics = {f"val/{name}": _value(metric) for name, metric in result.get("validation", {}).items()}
        rows.append({"fold": fold, "kept": result.get("kept"), "temperature": result.get("temperature"), **metrics})
    return rows


def artifact_links(paths: RunPaths) -> dict[str, Path]:
    """Return the report and the model card, if they exist, by the key of the Prefect artifact that links to them."""
    files = {"report": paths.stage("evaluate") / "report.html", "model-card": paths.stage("export") / "MODEL_CARD.md"}
    return {name: file for name, file in files.items() if file.is_file()}


def log_to_wandb(params: Params, paths: RunPaths, group: str, steps: list[StepResult]) -> None:
    """Log a W&B run with a table of the steps and the test metrics, unless all steps were cached.

    Args:
        params: all params.
        paths: where the pipeline wrote.
        group: W&B group of the pipeline, which is also the key of the run.
        steps: results of all steps.
    """
    if all(step.cached for step in steps):
        return
    with start_run("train", group, group, params, "train") as run:
        run.table("stages", COLUMNS, [step_row(step) for step in steps])
        for name, metric in test_metrics(paths).items():
            interval = {f"test/{name}_{end}": metric.get(end) for end in ("lo", "hi")}
            run.summary({f"test/{name}": metric["value"], **interval})


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _value(metric: Any) -> Any:
    return metric.get("value") if isinstance(metric, dict) else metric

"""What a finished chain leaves to look at: the steps, the test figures, where everything is."""

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
    """Values for `COLUMNS`; a cached step points at the W&B run that computed it."""
    key, state = result.step.key, "cached" if result.cached else "ran"
    return [result.step.name, state, key[:12], round(result.seconds, 1), run_id(key)]


def test_metrics(paths: RunPaths) -> dict[str, dict[str, float]]:
    """The test figures of artifacts/evaluate: name to value, lo, hi."""
    text = (paths.stage("evaluate") / "metrics.json").read_text(encoding="utf-8")
    return {name: figure for name, figure in json.loads(text)["test"].items() if isinstance(figure, dict)}


def markdown(paths: RunPaths) -> str:
    """Test figures as a table, with where the report and the bundle are."""
    lines = ["| test metric | value | interval |", "|---|---|---|"]
    for name, figure in test_metrics(paths).items():
        lines.append(
            f"| {name} | {_format(figure['value'])} | {_format(figure.get('lo'))} to {_format(figure.get('hi'))} |"
        )
    places = {"report": paths.stage("evaluate") / "report.html", "bundle": paths.stage("export")}
    return "\n".join([*lines, "", *(f"{name}: `{place}`  " for name, place in places.items())])


def fold_rows(params: Params, paths: RunPaths) -> list[dict[str, Any]]:
    """A row for each chain: its fold, the stage whose weights were kept, the validation figures."""
    folds = read_result(paths.stage("evaluate")).get("folds", {})
    rows = []
    for fold in params.data.split.trained_folds:
        said = folds.get(str(fold), {})
        figures = {f"val/{name}": _value(figure) for name, figure in said.get("validation", {}).items()}
        rows.append({"fold": fold, "kept": said.get("kept"), "temperature": said.get("temperature"), **figures})
    return rows


def artifact_links(paths: RunPaths) -> dict[str, Path]:
    """What a reader wants to open, by Prefect artifact key; only what is there."""
    places = {"report": paths.stage("evaluate") / "report.html", "model-card": paths.stage("export") / "MODEL_CARD.md"}
    return {name: place for name, place in places.items() if place.is_file()}


def log_to_wandb(params: Params, paths: RunPaths, group: str, steps: list[StepResult]) -> None:
    """Links every step's run, cached ones too, from one W&B run of the group; nothing where nothing ran."""
    if all(step.cached for step in steps):
        return
    with start_run("train", group, group, params, "train") as run:
        run.table("stages", COLUMNS, [step_row(step) for step in steps])
        for name, figure in test_metrics(paths).items():
            ends = {f"test/{name}_{end}": figure.get(end) for end in ("lo", "hi")}
            run.summary({f"test/{name}": figure["value"], **ends})


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _value(metric: Any) -> Any:
    return metric.get("value") if isinstance(metric, dict) else metric

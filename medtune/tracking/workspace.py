"""W&B workspace view of the project, defined in code.

With an API key, the view is saved to W&B. Without a key, its definition is written to a file for review.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.evaluation.metric import Metric
from medtune.runtime.artifact import write_text
from medtune.runtime.console import info
from medtune.runtime.paths import RunPaths
from medtune.serving.one_line import first_line
from medtune.tasks import base
from medtune.tracking import redact
from medtune.tracking.server import KeyRefused, ServerUnreachable, check_key

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Section, Workspace

NAME = "MedTune"
GATE = ("gate/difference", "gate/lo", "gate/hi", "gate/min_improvement")


def curves(metrics: Sequence[Metric]) -> list[str]:
    """Return the names of the learning curves: losses, per-epoch metrics and learning rate."""
    return ["train/loss", "val/loss", *(f"val/{metric.name}" for metric in metrics if metric.each_epoch), "lr"]


def workspace(entity: str, project: str, metrics: Sequence[Metric]) -> "Workspace":
    """Build the view without saving it or contacting the server.

    Args:
        entity: team or user that owns the project.
        project: project whose runs the view shows.
        metrics: metrics of the task, in table order.

    Returns:
        The unsaved view.
    """
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.reports.v2 import interface as wr

    return ws.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            _curves("Stage 1: frozen backbone", "frozen", curves(metrics)),
            _curves("Stage 2: fine-tuning", "finetune", curves(metrics)),
            _section(
                "Folds, best epoch by validation",
                *(wr.BarPlot(title=f"{name} per fold and stage", metrics=[f"best/{name}"], max_bars_to_show=40)
                  for name in (*(metric.name for metric in metrics if metric.each_epoch), "loss")),
                wr.MediaBrowser(title="evaluation per fold", media_keys=["test/folds"], num_columns=1),
            ),
            _section(
                "Test metrics with confidence intervals",
                *(wr.BarPlot(title=f"test {metric.title}: value, lower and upper bound",
                             metrics=[f"test/{metric.name}{end}" for end in ("", "_lo", "_hi")]) for metric in metrics),
                wr.MediaBrowser(title="metrics", media_keys=["test/metrics"], num_columns=1),
            ),
            _section(
                "Confusion, reliability, ROC",
                *(wr.MediaBrowser(title=name, media_keys=[f"test/{name}"], num_columns=2)
                  for name in ("confusion", "reliability", "roc", "precision_recall", "findings", "subgroups",
                               "decision_curve", "history", "classes", "dice", "sizes", "labels")),
            ),
            _section(
                "Gate: challengers against the champion",
                wr.BarPlot(title="promoted (1) or rejected (0)", metrics=["gate/promoted"], max_bars_to_show=40),
                wr.BarPlot(title="challenger minus champion, with interval", metrics=list(GATE)),
                wr.ScatterPlot(title="difference over time", x="_timestamp", y="gate/difference"),
                wr.MediaBrowser(title="gate", media_keys=["gate"], num_columns=1),
            ),
            _section(
                "Benchmark and flows",
                wr.MediaBrowser(title="benchmark trials", media_keys=["trials"], num_columns=1),
                wr.MediaBrowser(title="stages of a flow run", media_keys=["stages"], num_columns=1),
            ),
        ],
        settings=ws.WorkspaceSettings(max_runs=40),
        runset_settings=ws.RunsetSettings(
            # The runs are not grouped, because W&B would draw means over the folds of a group.
            pinned_columns=["run:displayName", "run:group", "run:jobType", "config:fold.value",
                            *(f"summary:test/{metric.name}" for metric in metrics if metric.headline),
                            "summary:gate/promoted", "summary:gate/champion", "summary:gate/challenger"],
        ),
    )  # fmt: skip


def definition(view: "Workspace") -> dict[str, Any]:
    """Return the content that saving `view` sends: entity, project, name and spec."""
    model = view._to_model()
    spec = json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True))
    return {"entity": model.entity, "project": model.project, "displayName": model.display_name, "spec": spec}


def save(
    project: str | None = None, entity: str | None = None, update: str | None = None, out: Path | None = None
) -> None:
    """Save the workspace view to W&B; without an API key, write its definition to a file.

    Args:
        project: W&B project; None for `tracking.project`.
        entity: team or user; None for `tracking.entity`.
        update: URL of a saved view to overwrite; None to create a view.
        out: file to which the definition is also written. None writes a file in the cache folder if there is no key.

    Raises:
        InputError: params.yaml is invalid, or the server rejects the key.
        SystemExit: exit code 1 if the server does not respond or rejects the view.
    """
    params = load()
    tracking, key, cache = params.tracking, os.environ.get("WANDB_API_KEY"), RunPaths.from_env().cache
    redact.set_environment(cache)
    project, owner = project or tracking.project, entity or tracking.entity
    if key:
        owner = _owner(key, owner)
    view = workspace(owner or "", project, base.metrics(params.task.kind))
    if out is not None or not key:
        path = out or cache / "wandb" / "workspace.json"
        write_text(path, json.dumps(definition(view), indent=2) + "\n")
        info(f"workspace: {len(view.sections)} sections written to {path}")
    if not key:
        info("workspace: to save the view to W&B, set WANDB_API_KEY and rerun")
        return
    try:
        if update:
            saved = type(view).from_url(update)
            view._internal_name, view._internal_id = saved._internal_name, saved._internal_id
        view.save()  # type: ignore[no-untyped-call]
    except Exception as error:  # missing permission, unknown view or connection loss
        info(f"workspace: W&B: {first_line(error)}; nothing was saved")
        raise SystemExit(1) from None
    info(f"workspace: {len(view.sections)} sections saved at {view.url}")


def _curves(title: str, stage: str, names: Sequence[str]) -> "Section":
    """Build one chart per metric over `<stage>/epoch`, which only the runs of `stage` log."""
    from wandb_workspaces.reports.v2 import interface as wr

    panels = [wr.LinePlot(title=f"{stage}: {name}", x=f"{stage}/epoch", y=[name], title_x="epoch", max_runs_to_show=40,
                          legend_template="${run:displayName}") for name in names]  # fmt: skip
    return _section(title, *panels)


def _section(title: str, *panels: Any) -> "Section":
    import wandb_workspaces.workspaces as ws

    return ws.Section(name=title, panels=list(panels), is_open=True)


def _owner(key: str, entity: str | None) -> str:
    """Check the server and the key; return `entity`, or the default entity of the key."""
    try:
        check_key(key)
    except KeyRefused as error:
        raise InputError(str(error)) from None
    except ServerUnreachable as error:
        info(f"workspace: {error}; nothing was saved")
        raise SystemExit(1) from None
    if entity:
        return entity
    import wandb

    return wandb.Api().default_entity or ""

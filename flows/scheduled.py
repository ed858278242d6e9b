"""Flows of the deployments in prefect.yaml: retraining and benchmark. A schedule or a user starts them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Task, flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.deployments import run_deployment
from prefect.runtime import deployment, flow_run

from medtune.flows import exit_with_parent, hooks, mark_crashed, pipeline, promotion, retrain_steps, tasks
from medtune.runtime.paths import RunPaths
from medtune.stages.steps import Steps

DAY_S = 24 * 3600
# Only steps that contact remote servers are retried. The failure of another step would repeat.
RETRIES: dict[str, Any] = {"retries": 2, "retry_delay_seconds": [10, 60]}
NETWORK = {"pull": RETRIES, "record": RETRIES, "publish": RETRIES}


@flow(
    name="retrain",
    flow_run_name="retrain",
    timeout_seconds=DAY_S,
    validate_parameters=False,
    persist_result=False,
    on_failure=[hooks.notify],
    on_crashed=[hooks.notify],
)
def retrain(accept: str | None = None) -> str:
    """Run a retraining (see flows/retrain_steps.py). If the code changed, a deployment schedules another run.

    Args:
        accept: reason for publishing the new model even if the gate rejects it; None to follow the gate.

    Returns:
        The outcome in one sentence. `RESTART_REQUIRED` if the code changed and the run has no deployment.
    """
    exit_with_parent.exit_with_worker()
    outcome = retrain_steps.run(retrain_steps.Executor(_step, _train, _show, _on_start), accept)
    return _schedule_rerun() if outcome == retrain_steps.RESTART_REQUIRED else outcome


def _on_start() -> None:
    """Mark unfinished runs of this folder as Crashed. This run holds the lock, so the other runs have ended."""
    for name in mark_crashed.mark_crashed(str(RunPaths.from_env().out), {UUID(flow_run.id)}):
        pipeline.log_line(f"retrain: {name} crashed: {mark_crashed.MESSAGE}")


def _schedule_rerun() -> str:
    """Schedule another run in one minute, because this process has loaded the old code."""
    if deployment.id is None:
        return retrain_steps.RESTART_REQUIRED  # started by hand: the command line restarts
    run_deployment(UUID(deployment.id), scheduled_time=datetime.now(UTC) + timedelta(minutes=1), timeout=0)
    return "the code changed: another run starts in one minute"


def _step(name: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function as a Prefect task. The steps in `NETWORK` are retried."""
    configured: Task[..., Any] = Task(
        function, name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False, **NETWORK.get(name, {})
    )
    return configured(*args)


def _train(steps: Steps) -> list[pipeline.StepResult]:
    params = steps.params
    return tasks.train(steps, f"{params.model.backbone} {params.model.head.kind} {params.schedule}")


def _show(outcome: promotion.PromotionRecord) -> None:
    """Publish the decision of the gate on the page of the flow run."""
    create_markdown_artifact(promotion.markdown(outcome), key="gate", description="decision about the new model")
    if rows := outcome.decision.rows():
        create_table_artifact(rows, key="gate-metrics", description="both models on the same patients")


@flow(
    name="benchmark-scheduled",
    flow_run_name="benchmark",
    timeout_seconds=7 * DAY_S,
    persist_result=False,
    on_failure=[hooks.notify],
    on_crashed=[hooks.notify],
)
def benchmark(grid: str | None = None, sets: list[str] | None = None) -> str:
    """Run a benchmark (see flows/benchmark.py).

    Args:
        grid: file with the grid; None for benchmark.yaml.
        sets: overrides of params as `key=value`.

    Returns:
        The path of the report, relative to the default output folder.

    Raises:
        RuntimeError: a trial failed after all retries.
    """
    from medtune.flows.benchmark import benchmark as compare

    exit_with_parent.exit_with_worker()
    try:
        compare(Path(grid) if grid else None, sets or [])
    except SystemExit as failure:
        raise RuntimeError("trials failed after all retries. See the log") from failure
    return "artifacts/benchmark/report.html"

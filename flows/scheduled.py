"""What deployments run (prefect.yaml): the retrain flow and the benchmark as Prefect flows."""

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
# Steps that ask a network are tried again; the others fail for reasons that stay.
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
    """Fetch, train, gate, record, publish; see flows/retrain_steps.py. Gives how it ended, in a sentence."""
    exit_with_parent.exit_with_worker()
    ended = retrain_steps.run(retrain_steps.Executor(_step, _train, _show, _on_start), accept)
    return _schedule_rerun() if ended == retrain_steps.RESTART_REQUIRED else ended


def _on_start() -> None:
    """The lock is this run's: whatever else Prefect calls running here is dead."""
    for name in mark_crashed.mark_crashed(str(RunPaths.from_env().out), {UUID(flow_run.id)}):
        pipeline.log_line(f"retrain: {name} crashed: {mark_crashed.MESSAGE}")


def _schedule_rerun() -> str:
    """A run a minute from now, with the new code: this process has read the old."""
    if deployment.id is None:
        return retrain_steps.RESTART_REQUIRED  # started by hand: the command line starts again
    run_deployment(UUID(deployment.id), scheduled_time=datetime.now(UTC) + timedelta(minutes=1), timeout=0)
    return "the code changed: another run with it starts in a minute"


def _step(name: str, function: Callable[..., Any], *args: Any) -> Any:
    configured: Task[..., Any] = Task(
        function, name=name, task_run_name=name, cache_policy=NO_CACHE, persist_result=False, **NETWORK.get(name, {})
    )
    return configured(*args)


def _train(steps: Steps) -> list[pipeline.StepResult]:
    params = steps.params
    return tasks.train(steps, f"{params.model.backbone} {params.model.head.kind} {params.schedule}")


def _show(outcome: promotion.PromotionRecord) -> None:
    create_markdown_artifact(promotion.markdown(outcome), key="gate", description="was the new model accepted, and why")
    if rows := outcome.decision.rows():
        create_table_artifact(rows, key="gate-figures", description="both models on the same patients")


@flow(
    name="benchmark-scheduled",
    flow_run_name="benchmark",
    timeout_seconds=7 * DAY_S,
    persist_result=False,
    on_failure=[hooks.notify],
    on_crashed=[hooks.notify],
)
def benchmark(grid: str | None = None, sets: list[str] | None = None) -> str:
    """The method comparison of benchmark.yaml, or of another grid file; see flows/benchmark.py."""
    from medtune.flows.benchmark import benchmark as compare

    exit_with_parent.exit_with_worker()
    try:
        compare(Path(grid) if grid else None, sets or [])
    except SystemExit as ended:
        raise RuntimeError("trials failed even when tried again: the log names them") from ended
    return "artifacts/benchmark/report.html"

"""Pipeline as a Prefect flow: one task per step (one run of a stage), with MedTune's cache keys."""

from typing import Any

from prefect import Task, flow, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from medtune.flows import pipeline, records, server
from medtune.flows.cache_policy import CacheByKey, prefect_key
from medtune.runtime.artifact import Artifact
from medtune.stages.steps import Step, Steps


def train(steps: Steps, name: str = "train") -> list[pipeline.StepResult]:
    """Run every step of the pipeline as a task of one flow run.

    Prefect displays the parameters of the flow. The tasks use only the validated params of `steps`.

    Args:
        steps: the steps of the pipeline.
        name: name of the flow run in the dashboard.

    Returns:
        One result per step, in order.
    """
    params, paths = steps.params, steps.paths

    def execute(step: Step) -> Artifact:
        """Run a step as a task, or read its result from Prefect's cache."""

        def run_step(name: str, stage: str, fold: int | None, key: str, cache_key: str) -> dict[str, str]:
            return pipeline.run_stage(step, steps).as_dict()

        configured: Task[..., dict[str, str]] = Task(
            run_step,
            name=step.stage if step.control is None else f"control {step.control} {step.stage}",
            task_run_name="{name}",
            cache_policy=CacheByKey(),
            persist_result=True,
            result_serializer="json",
            result_storage=paths.cache / "prefect" / "results",
            refresh_cache=step.artifact is None,
        )
        cache_key = prefect_key(step.key, steps.resolver(step).paths.stage(step.stage, step.fold))
        result = configured(name=step.name, stage=step.stage, fold=step.fold, key=step.key, cache_key=cache_key)
        return step.artifact or Artifact(**result)

    @flow(name="train", flow_run_name=name, validate_parameters=False, persist_result=False)
    def run_pipeline(params: dict[str, Any], out: str) -> list[pipeline.StepResult]:
        results = pipeline.run(steps, execute)
        if server.is_alive():
            _publish(steps, results)
        return results

    return run_pipeline(params.model_dump(mode="json"), str(paths.out))


def _publish(steps: Steps, results: list[pipeline.StepResult]) -> None:
    """Publish test metrics, folds, steps and links as Prefect artifacts."""
    paths = steps.paths

    @task(name="publish_artifacts", task_run_name="report", cache_policy=NO_CACHE, persist_result=False)
    def publish_artifacts(rows: list[dict[str, Any]]) -> None:
        create_markdown_artifact(
            records.markdown(paths), key="test-metrics", description="test metrics with confidence intervals"
        )
        folds = records.fold_rows(steps.params, paths)
        create_table_artifact(folds, key="folds", description="one row per fold")
        create_table_artifact(rows, key="steps", description="state and W&B run of every step")
        for key, path in records.artifact_links(paths).items():
            create_link_artifact(link=path.as_uri(), key=key)

    publish_artifacts([dict(zip(records.COLUMNS, records.step_row(result), strict=True)) for result in results])

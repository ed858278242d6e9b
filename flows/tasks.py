"""The chain as Prefect sees it: one task a step, cached by our keys; small values in and out."""

from typing import Any

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from medtune.config.load import validate
from medtune.data.manifest import load_prepared
from medtune.flows import pipeline, records, server
from medtune.flows.cache_policy import ByKey, prefect_key
from medtune.runtime.artifact import Artifact
from medtune.runtime.paths import Paths


@task(task_run_name="{name}", cache_policy=ByKey(), persist_result=True, result_serializer="json")
def run_step(
    name: str,
    stage: str,
    fold: int | None,
    key: str,
    upstream: list[dict[str, str]],
    params: dict[str, Any],
    out: str,
    group: str,
    cache_key: str,
) -> dict[str, str]:
    """The finished artifact of one step, as `Artifact.as_dict()`."""
    step = pipeline.Step(stage, fold, key, tuple(Artifact(**artifact) for artifact in upstream))
    return pipeline.run_stage(step, validate(params), Paths.at(out), group).as_dict()


@task(task_run_name="report", cache_policy=NO_CACHE, persist_result=False)
def publish_artifacts(params: dict[str, Any], out: str, rows: list[dict[str, Any]]) -> None:
    """Puts the test figures, the chains, the steps and links into Prefect's artifacts."""
    paths = Paths.at(out)
    create_markdown_artifact(records.markdown(paths), key="test-metrics", description="test set, with intervals")
    create_table_artifact(records.chains(validate(params), paths), key="chains", description="one row a chain")
    create_table_artifact(rows, key="steps", description="what ran, what was cached, and its W&B run")
    for key, place in records.links(paths).items():
        create_link_artifact(link=place.as_uri(), key=key)


@flow(name="train", flow_run_name="{name}", validate_parameters=False, persist_result=False)
def train(params: dict[str, Any], out: str, name: str = "train") -> list[pipeline.Done]:
    """How every step of the chain went.

    Args:
        params: the whole params.yaml as plain values.
        out: folder that holds data/prepared and artifacts.
        name: shown in the dashboard.
    """
    chosen, paths = validate(params), Paths.at(out)
    prepared = load_prepared(paths.prepared)
    group = pipeline.pipeline_key(chosen, prepared)

    def call(step: pipeline.Step, found: Artifact | None) -> Artifact:
        configured = run_step.with_options(
            name=step.stage,
            refresh_cache=found is None,
            result_storage=paths.cache / "prefect" / "results",
        )
        made = configured(
            name=step.name,
            stage=step.stage,
            fold=step.fold,
            key=step.key,
            upstream=[artifact.as_dict() for artifact in step.upstream],
            params=params,
            out=out,
            group=group,
            cache_key=prefect_key(step.key, paths.stage(step.stage, step.fold)),
        )
        return found or Artifact(**made)

    steps = pipeline.run(chosen, paths, prepared, call)
    if server.answers():
        publish_artifacts(params, out, [dict(zip(records.COLUMNS, records.row(step), strict=True)) for step in steps])
    return steps

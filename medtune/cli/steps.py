"""Status of the pipeline steps, and the reasons why they would run. This module does not import torch."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.evaluation.choices import describe_choices
from medtune.runtime.artifact import Artifact, find_artifact, read_result
from medtune.runtime.cache_key import STAGE_SECTIONS, data_key
from medtune.runtime.paths import RunPaths
from medtune.serving.members import network_name
from medtune.stages.steps import Step, Steps, step_name, step_order


class StepStatus(NamedTuple):
    """Status of one step.

    Attributes:
        name: name of the step.
        done: True if its result exists.
        reason: description of the result, or why the step would run.
    """

    name: str
    done: bool
    reason: str


def report(params: Params, paths: RunPaths) -> list[StepStatus]:
    """Return the status of every step of the pipeline, in order."""
    data = _data(params, paths)
    if not data.done:
        return [data, *(StepStatus(step_name(*step), False, "would run after data") for step in step_order(params))]
    steps, statuses = Steps(params, paths), [data]
    for step_id in steps.order():
        stage, fold, _ = step_id
        try:
            step = steps.resolve(*step_id)
        except InputError:  # the key of this step depends on an earlier step without a result
            missing = [status.name for status in statuses if not status.done]
            same_fold = [] if fold is None else [name for name in missing if name.endswith(f" {network_name(fold)}")]
            before = (same_fold or missing)[0]
            statuses.append(StepStatus(step_name(*step_id), False, f"would run after {before}"))
            continue
        if step.artifact is not None:
            chosen = describe_choices(_choices_of(step.artifact, stage))
            statuses.append(
                StepStatus(step.name, True, f"cached (key {step.key[:6]}){f': {chosen}' if chosen else ''}")
            )
        else:
            statuses.append(StepStatus(step.name, False, f"would run: {_reason(step, steps.resolver(step))}"))
    return statuses


def _choices_of(artifact: Artifact, stage: str) -> dict[str, Any]:
    """Return the settings that a stage selected on validation, by name of the stage."""
    choices = artifact.result().get("choices", {})
    return {stage: choices[stage]} if stage in choices else {}


def _data(params: Params, paths: RunPaths) -> StepStatus:
    """Return the status of stage data."""
    try:
        result = read_result(paths.prepared)
    except (OSError, ValueError):
        return StepStatus("data", False, f"would run: {paths.prepared} is missing or damaged")
    changed = _changed({"data": params.section("data")}, {"data": result.get("params", {})})
    if result.get("key") != data_key(params):
        return StepStatus("data", False, f"would run: {changed or 'the code or a library changed'}")
    if find_artifact(paths.prepared) is None:
        return StepStatus("data", False, f"would run: {paths.prepared} is damaged")
    what = "volumes" if params.data.has_volumes else "images"
    return StepStatus("data", True, f"prepared: {result['n_images']:,} {what}")


def _reason(step: Step, steps: Steps) -> str:
    """Return why a step would run: its result is missing, outdated or damaged."""
    try:
        result = read_result(steps.paths.stage(step.stage, step.fold))
    except (OSError, ValueError):
        return "no result yet"
    before, now = result.get("params", {}), steps.params.model_dump(mode="json")
    sections = ("seed", *STAGE_SECTIONS[step.stage])
    changed = _changed(
        {name: now.get(name) for name in sections}, {name: before.get(name) for name in sections if name in before}
    )
    if changed:
        return changed
    if result.get("data_digest") not in (None, steps.prepared.digest):
        return "the prepared data changed"
    if result.get("key") == step.key:
        return "the files of the result are damaged"
    return "an earlier step, the code, a library or the device changed"


def _changed(now: dict[str, Any], before: dict[str, Any]) -> str:
    """List the params that differ, as text; empty if none do. Sections that are not in `before` are ignored."""
    keys = [key for key in _differing(now, before, "") if key.partition(".")[0] in before]
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return f"{', '.join(keys[:3])}{more} changed" if keys else ""


def _differing(now: Any, before: Any, prefix: str) -> Iterator[str]:
    """Yield the dotted names of the values that differ."""
    if isinstance(now, dict) and isinstance(before, dict):
        for key in dict.fromkeys([*now, *before]):
            yield from _differing(now.get(key), before.get(key), f"{prefix}.{key}" if prefix else key)
    elif now != before:
        yield prefix

"""Which steps of the pipeline are done, and why the next one would run. Imports no torch."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from medtune.config.schema import Params
from medtune.data.manifest import load_prepared
from medtune.flows import pipeline
from medtune.runtime.artifact import Artifact, find, read_result
from medtune.runtime.cache_key import READS, data_key
from medtune.runtime.paths import Paths


class Step(NamedTuple):
    """One step: its name, whether its result is there, and what that is or why it would run."""

    name: str
    done: bool
    reason: str


class _Missing(Exception):
    """The step's result does not exist."""


def report(params: Params, paths: Paths) -> list[Step]:
    """Return every step of the pipeline in order; after the first that would run, the keys are not known yet."""
    data = _data(params, paths)
    names = list(_names(params))
    if not data.done:
        return [data, *(Step(name, False, "would run after data") for name in names)]
    steps = [data]
    prepared = load_prepared(paths.prepared)

    def execute(step: pipeline.Step) -> Artifact:
        found = find(paths.stage(step.stage, step.fold), step.key)
        if found is None:
            steps.append(Step(step.name, False, f"would run: {_why(step, params, paths, prepared.digest)}"))
            raise _Missing
        steps.append(Step(step.name, True, f"cached (key {step.key[:6]})"))
        return found

    try:
        pipeline.walk(params, prepared, execute)
    except _Missing:
        first = steps[-1].name
        steps += [Step(name, False, f"after {first}") for name in names[len(steps) - 1 :]]
    return steps


def _names(params: Params) -> Iterator[str]:
    for fold in params.data.split.chains:
        yield from (f"{stage} fold {fold}" for stage in params.training_stages)
    yield from ("evaluate", "export")


def _data(params: Params, paths: Paths) -> Step:
    try:
        result = read_result(paths.prepared)
    except (OSError, ValueError):
        return Step("data", False, f"would run: {paths.prepared} does not exist")
    changed = _changed({"data": params.section("data")}, {"data": result.get("params", {})})
    if result.get("key") != data_key(params):
        return Step("data", False, f"would run: {changed or 'the code or a library changed'}")
    if find(paths.prepared) is None:
        return Step("data", False, f"would run: {paths.prepared} is damaged")
    return Step("data", True, f"prepared: {result['n_images']:,} images")


def _why(step: pipeline.Step, params: Params, paths: Paths, data_digest: str) -> str:
    """What differs between the result that is there and the one that is needed."""
    try:
        result = read_result(paths.stage(step.stage, step.fold))
    except (OSError, ValueError):
        return "no result yet"
    before, now = result.get("params", {}), params.model_dump(mode="json")
    sections = ("seed", *READS[step.stage])
    changed = _changed(
        {name: now.get(name) for name in sections}, {name: before.get(name) for name in sections if name in before}
    )
    if changed:
        return changed
    if result.get("data_digest") not in (None, data_digest):
        return "the prepared data changed"
    if result.get("key") == step.key:
        return "its files are damaged"
    return "an earlier step, the code, a library or the device changed"


def _changed(now: dict[str, Any], before: dict[str, Any]) -> str:
    keys = [key for key in _differing(now, before, "") if key.partition(".")[0] in before]
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return f"{', '.join(keys[:3])}{more} changed" if keys else ""


def _differing(now: Any, before: Any, prefix: str) -> Iterator[str]:
    if isinstance(now, dict) and isinstance(before, dict):
        for key in dict.fromkeys([*now, *before]):
            yield from _differing(now.get(key), before.get(key), f"{prefix}.{key}" if prefix else key)
    elif now != before:
        yield prefix

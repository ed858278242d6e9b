"""What a finished job leaves on disk, with everyone who reads it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medtune.benchmark.grid import TrialId
from medtune.config.schema import Params
from medtune.runtime.artifact import find_artifact
from medtune.runtime.cache_key import data_key
from medtune.runtime.paths import RunPaths
from torture import job
from torture.damaged.place import Place, files_of, seen

REUSED = "taken for finished"


class _Cut(Exception):
    """A run that ends in the middle."""


def places(folder: Path) -> list[Place]:
    """A small job's, after every stage of it has run, one was cut, and a cell of the benchmark was computed."""
    params = job.params({"frozen": {"epochs": 1, "feature_views": 1}, "finetune": {"epochs": 1}})
    paths = job.prepare(folder, params)
    job.train(params, paths)
    return [
        _prepared(params, paths),
        *(_stage(params, paths, stage) for stage in ("frozen", "finetune", "evaluate", "export")),
        _trained(paths),
        _bundle(paths),
        _features(paths),
        _logits(paths),
        _checkpoint(params, paths),
        _cell(params, paths),
    ]


def _prepared(params: Params, paths: RunPaths) -> Place:
    from medtune.stages.preflight import run_preflight

    def use(file: Path, harm: str) -> str | None:
        if find_artifact(paths.prepared, data_key(params)):
            return REUSED
        run_preflight(params, paths)
        return "read"

    return Place("data/prepared", files_of(paths.prepared), use)


def _stage(params: Params, paths: RunPaths, stage: str) -> Place:
    from medtune.flows import pipeline
    from medtune.stages.steps import Steps

    fold = 1 if stage in ("frozen", "finetune") else None

    def use(file: Path, harm: str) -> str | None:
        return seen(not pipeline.is_complete(Steps(params, paths)), REUSED)

    return Place(f"artifacts/{stage}", files_of(paths.stage(stage, fold)), use)


def _trained(paths: RunPaths) -> Place:
    """Read by who was handed the artifact before it was damaged."""
    from medtune.training.checkpoint import load_trained

    known = {stage: find_artifact(paths.stage(stage, 1)) for stage in ("frozen", "finetune")}
    files = [paths.stage(stage, 1) / name for stage in known for name in ("model.safetensors", "result.json")]

    def use(file: Path, harm: str) -> str | None:
        artifact = known[file.parent.parent.name]
        assert artifact is not None
        load_trained(artifact)
        return "loaded"

    return Place("trained network", files, use)


def _bundle(paths: RunPaths) -> Place:
    from medtune.serving.bundle import Bundle

    folder = paths.stage("export")

    def use(file: Path, harm: str) -> str | None:
        Bundle.load(folder, threads=1)
        return "loaded"

    return Place("bundle", [file for file in files_of(folder) if file.name != "result.json"], use)


def _features(paths: RunPaths) -> Place:
    from medtune.training import feature_store

    views = {path: path.resolve() for path in (paths.cache / "features").iterdir() if path.is_dir()}
    keys = {view: found.key for view in views if (found := find_artifact(view / "0000"))}
    files = [file for view in keys for file in files_of(view / "0000")]
    whole = {view: len(feature_store.load_shards(view, key)[0]) for view, key in keys.items()}

    def use(file: Path, harm: str) -> str | None:
        view = file.parent.parent
        return seen(len(feature_store.load_shards(view, keys[view])[0]) < whole[view], "taken from the store")

    return Place("feature store", files, use)


def _logits(paths: RunPaths) -> Place:
    from medtune.data.manifest import load_prepared
    from medtune.evaluation import outputs as logits

    trained = find_artifact(paths.stage("finetune", 1))
    assert trained is not None
    wanted = logits.OutputsRequest.for_artifact(trained, load_prepared(paths.prepared))
    assert logits.load_outputs(wanted, paths.cache) is not None

    def use(file: Path, harm: str) -> str | None:
        return seen(logits.load_outputs(wanted, paths.cache) is None, "taken from the cache")

    return Place("logits", [paths.cache / "logits" / f"{wanted.key}.npz"], use)


def _checkpoint(params: Params, paths: RunPaths) -> Place:
    from medtune.stages import frozen
    from medtune.stages.steps import Steps
    from medtune.training import checkpoint
    from medtune.training.artifacts import prepare_checkpoint_dir

    other = RunPaths(paths.out / "cut", paths.cache, data=paths.prepared)
    key = Steps(params, other).resolve("frozen", 1).key
    with _cut_after(3):
        frozen.run(params, other, 1)
    file = prepare_checkpoint_dir(other.stage("frozen", 1)) / checkpoint.CHECKPOINT_FILE
    assert checkpoint.read(file, key) is not None

    def use(file: Path, harm: str) -> str | None:
        return seen(checkpoint.read(file, key) is None, "resumed from")

    return Place("checkpoint of a cut run", [file], use)


@contextmanager
def _cut_after(saves: int) -> Iterator[None]:
    from medtune.training import loop

    real, left = loop.trainer_state.save_trainer, [saves]

    def save(trainer: Any) -> None:
        real(trainer)
        left[0] -= 1
        if not left[0]:
            raise _Cut

    loop.trainer_state.save_trainer = save
    try:
        yield
    except _Cut:
        pass
    finally:
        loop.trainer_state.save_trainer = real


def _cell(params: Params, paths: RunPaths) -> Place:
    from medtune.benchmark import trial as trials
    from medtune.data.manifest import load_prepared

    one = TrialId("drawn", "test_vit", "linear", 100, 1)
    chosen = params.model_copy(update={"schedule": "frozen"})
    prepared = load_prepared(paths.prepared)
    key = trials.trial_key(chosen, prepared, one, 1)
    made = trials.run(chosen, paths, one, 1)

    def use(file: Path, harm: str) -> str | None:
        return seen(find_artifact(trials.record_dir(paths, one), key) is None, REUSED)

    return Place("benchmark's cell", files_of(made.folder), use)

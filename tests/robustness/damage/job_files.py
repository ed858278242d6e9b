"""Files that a job writes."""

import itertools

import pytest

from medtune.benchmark import trial as trials
from medtune.benchmark.grid import TrialId
from medtune.data.manifest import load_prepared
from medtune.evaluation.outputs import OutputsRequest, load_outputs
from medtune.flows.pipeline import is_complete
from medtune.runtime.artifact import find_artifact
from medtune.runtime.cache_key import data_key
from medtune.runtime.paths import RunPaths
from medtune.serving.bundle import Bundle
from medtune.stages import frozen
from medtune.stages.preflight import run_preflight
from medtune.stages.steps import Steps
from medtune.training import checkpoint, trainer_state
from medtune.training.artifacts import prepare_checkpoint_dir
from medtune.training.feature_store import load_shards
from tests.robustness import job
from tests.robustness.damage.faults import Target, files_under

STAGES = {"frozen": 1, "finetune": 1, "evaluate": None, "export": None}  # with the fold
# Their readers verify a digest in the file, not in the artifact.
SELF_VERIFYING = ("trained network", "logits", "checkpoint")
NAMES = (
    "data/prepared", *(f"artifacts/{stage}" for stage in STAGES), "bundle", "feature store", "trial", *SELF_VERIFYING
)  # fmt: skip


class Interrupted(Exception):
    pass


def targets(folder):
    """Run all stages of a small job and return the files that it wrote, by the names in NAMES."""
    params = job.params({"frozen": {"epochs": 1, "feature_views": 1}, "finetune": {"epochs": 1}})
    paths = job.prepare(folder, params)
    job.train(params, paths)
    bundle = paths.stage("export")
    by_name = {
        "data/prepared": Target(files_under(paths.prepared), lambda _: read_prepared(params, paths)),
        "bundle": Target(
            [file for file in files_under(bundle) if file.name != "result.json"],
            lambda _: Bundle.load(bundle, threads=1),
        ),
        "feature store": features(paths),
        "trial": trial(params, paths),
        "trained network": trained_network(paths),
        "logits": logits(paths),
        "checkpoint": checkpoint_file(params, paths),
    }
    for stage, fold in STAGES.items():
        files = files_under(paths.stage(stage, fold))
        by_name[f"artifacts/{stage}"] = Target(files, lambda _: is_complete(Steps(params, paths)))
    return by_name


def read_prepared(params, paths):
    if not find_artifact(paths.prepared, data_key(params)):
        run_preflight(params, paths)
    return True


def trained_network(paths):
    """Networks whose artifacts were verified before the damage."""
    artifacts = [find_artifact(paths.stage(stage, 1)) for stage in ("frozen", "finetune")]
    by_folder = {artifact.folder: artifact for artifact in artifacts}
    files = [folder / name for folder in by_folder for name in ("model.safetensors", "result.json")]
    return Target(files, lambda file: checkpoint.load_trained(by_folder[file.parent]))


def features(paths):
    """The first shard of every view of the images."""
    shards = [find_artifact(view / "0000") for view in sorted((paths.cache / "features").iterdir())]
    keys = {shard.folder: shard.key for shard in shards if shard}

    def count(file):
        return len(load_shards(file.parent.parent, keys[file.parent])[0])

    files = [file for shard in keys for file in files_under(shard)]
    counts = {file: count(file) for file in files}
    return Target(files, lambda file: count(file) == counts[file])


def logits(paths):
    request = OutputsRequest.for_artifact(find_artifact(paths.stage("finetune", 1)), load_prepared(paths.prepared))
    file = paths.cache / "logits" / f"{request.key}.npz"
    return Target([file], lambda _: load_outputs(request, paths.cache))


def checkpoint_file(params, paths):
    """The checkpoint of a run that was interrupted after three steps."""
    interrupted = RunPaths(paths.out / "interrupted", paths.cache, data=paths.prepared)
    key = Steps(params, interrupted).resolve("frozen", 1).key
    save, count = trainer_state.save_trainer, itertools.count(1)

    def save_and_interrupt(trainer):
        save(trainer)
        if next(count) == 3:
            raise Interrupted

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(trainer_state, "save_trainer", save_and_interrupt)
        with pytest.raises(Interrupted):
            frozen.run(params, interrupted, 1)
    file = prepare_checkpoint_dir(interrupted.stage("frozen", 1)) / checkpoint.CHECKPOINT_FILE
    return Target([file], lambda _: checkpoint.read(file, key))


def trial(params, paths):
    trial_id = TrialId("synthetic", "test_vit", "linear", 100, 1)
    params = params.model_copy(update={"schedule": "frozen"})
    folder = trials.run(params, paths, trial_id, threads=1).folder
    key = trials.trial_key(params, load_prepared(paths.prepared), trial_id, 1)
    return Target(files_under(folder), lambda _: find_artifact(folder, key))

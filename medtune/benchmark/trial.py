"""One trial of the benchmark: a method trained with the learning rate that validation prefers, judged on test."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from medtune.benchmark.grid import TrialId
from medtune.config.schema import Params
from medtune.config.training import FinetuneParams, FrozenParams
from medtune.runtime import cache_key as keys
from medtune.runtime.artifact import Artifact, commit, find_artifact, partial_dir
from medtune.runtime.device import device_class, device_name
from medtune.runtime.paths import RunPaths, TrainSubset
from medtune.runtime.provenance import provenance
from medtune.tasks import base

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset
    from medtune.evaluation.result import FoldResult

PREDICTIONS_FILE = "predictions.csv"
SPLITS = ("train", "val", "test")


def record_dir(paths: RunPaths, trial: TrialId) -> Path:
    """Where a trial's record lies."""
    return paths.stage("benchmark") / "cells" / trial.slug


def trial_key(
    params: Params, prepared: "PreparedDataset", trial: TrialId, threads: int, with_validation: bool = True
) -> str:
    """Cache key of one trial.

    Args:
        params: of the trial.
        prepared: its data set, whole; what its share takes follows from percent and seed.
        trial: which trial.
        threads: CPU threads; they decide the last digits.
        with_validation: whether the share applies to the validation patients, too.
    """
    inputs = {
        "data": prepared.digest,
        "roles": [prepared.split_digest(fold) for fold in params.data.split.test_folds],
        "schedule": params.schedule,
        "share": [trial.percent, trial.seed, with_validation],
        "threads": threads,
    }
    defaults = {"frozen": FrozenParams(), "finetune": FinetuneParams()}
    unused = {name: default for name, default in defaults.items() if name not in params.training_stages}
    return keys.stage_key("cell", params.model_copy(update=unused), inputs, device_class())


def run(params: Params, paths: RunPaths, trial: TrialId, threads: int, with_validation: bool = True) -> Artifact:
    """Compute one trial; resume if an earlier run was interrupted.

    Args:
        params: of the trial.
        paths: the prepared data, and where records and unfinished work go.
        trial: which trial.
        threads: CPU threads.
        with_validation: whether the share applies to the validation patients, too.

    Returns:
        The record: result.json with the metrics, predictions.csv of the test images.

    Raises:
        RuntimeError: the loss is not finite at any rate, or a logit is not.
    """
    from medtune.data.prepared import open_prepared

    prepared = open_prepared(paths)
    folder, key = record_dir(paths, trial), trial_key(params, prepared, trial, threads, with_validation)
    work = paths.cache / "benchmark" / "work" / key
    work.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{work}.lock"):  # a worker that was given up for dead may still be at it
        if done := find_artifact(folder, key):
            return done
        import torch

        from medtune.training.memory import PeakMemory

        torch.set_num_threads(threads)
        memory = PeakMemory(device_name())
        own = replace(paths, subset=TrainSubset(trial.percent, trial.seed, with_validation))
        part = open_prepared(own)
        out = replace(own, out=work, data=own.prepared)
        stages = {fold: _train(params, out, fold) for fold in params.data.split.test_folds}
        trained = {fold: one[-1] for fold, one in stages.items()}
        seconds = round(sum(stage.result()["seconds"] for one in stages.values() for stage in one), 1)
        folds = _evaluate(params, part, trained)
        peak = memory.megabytes()

        unfinished = partial_dir(folder)
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        record = {
            "stage": "benchmark",
            "cell": asdict(trial),
            **_rates(list(trained.values())),
            "monitor": getattr(params, params.training_stages[-1]).monitor,
            "metrics": _test(params, prepared, folds, unfinished),
            **_provenance_facts(params, part),
            **_cost(params, next(iter(trained.values())), seconds, part),
            "peak_memory_mb": peak,
            "device": device_class(),
            "threads": threads,
            "params": params.model_dump(mode="json"),
            "provenance": provenance(),
        }
        artifact = commit(folder, key, record)
        shutil.rmtree(work, ignore_errors=True)
    Path(f"{work}.lock").unlink(missing_ok=True)
    return artifact


def _train(params: Params, paths: RunPaths, fold: int) -> list[Artifact]:
    """The finished stages of one test fold."""
    from medtune.stages import finetune, frozen

    stages = {"frozen": frozen, "finetune": finetune}
    return [stages[name].run(params, paths, fold) for name in params.training_stages]


def _rates(trained: Sequence[Artifact]) -> dict[str, Any]:
    """The learning rates that the folds chose and tried, and validation scores at the chosen ones.

    Scores are means over the folds. They are None where one fold's is undefined.
    """
    results = [artifact.result() for artifact in trained]
    by_rate: dict[float, list[dict[str, Any]]] = {}
    for result in results:
        for candidate in result["trials"]:
            if "validation" in candidate:
                by_rate.setdefault(candidate["lr"], []).append(candidate)
    return {
        "lr": sorted({result["lr"] for result in results} - {None}),
        "trials": [
            {
                "lr": rate,
                "epoch": own[0]["epoch"],
                "seconds": round(sum(candidate["seconds"] for candidate in own), 1),
                "validation": dict(_means([candidate["validation"] for candidate in own])),
            }
            for rate, own in sorted(by_rate.items())
        ],
        "validation": dict(_means([result["best"]["validation"] for result in results])),
    }


def _means(scores: Sequence[Mapping[str, float | None]]) -> Iterator[tuple[str, float | None]]:
    for name in scores[0]:
        values = [own[name] for own in scores]
        known = [value for value in values if value is not None]
        yield name, sum(known) / len(known) if len(known) == len(values) else None


def _evaluate(params: Params, prepared: "PreparedDataset", trained: Mapping[int, Artifact]) -> "list[FoldResult]":
    """Result of each test fold; `trained`: what was trained for it."""
    from medtune.evaluation.outputs import OutputsRequest
    from medtune.evaluation.slides import to_slides
    from medtune.training.trained_outputs import compute_trained_outputs

    requests = [OutputsRequest.for_artifact(trained[fold], prepared) for fold in params.data.split.test_folds]
    device, size = device_name(), params.evaluate.batch_size
    outputs = list(compute_trained_outputs(requests, prepared.images, device, size, lambda done: None))
    prepared, requests, outputs = to_slides(prepared, requests, outputs, params.model.head.aggregation)
    return list(base.evaluation(params.task.kind).evaluate_folds(requests, outputs, prepared, params.evaluate))


def _test(params: Params, prepared: "PreparedDataset", folds: "Sequence[FoldResult]", folder: Path) -> dict[str, Any]:
    """Every test metric with its interval; writes the predictions they come from."""
    from medtune.data.slide_dataset import by_slide
    from medtune.evaluation.intervals import intervals

    prepared = by_slide(prepared) if prepared.slides else prepared
    options, kind = params.evaluate, params.task.kind
    task = base.evaluation(kind)
    pooled = task.pool([fold.test for fold in folds])
    task.write_predictions(folder / PREDICTIONS_FILE, prepared, pooled)
    stats = pooled.stats(options)
    test = intervals(base.metrics(kind), stats, options.confidence)
    return {name: one.as_dict() for name, one in test.items()}


def _provenance_facts(params: Params, prepared: "PreparedDataset") -> dict[str, Any]:
    """What it was trained and tested on; of slides, not of their tiles."""
    from medtune.data.slide_dataset import by_slide

    prepared = by_slide(prepared) if prepared.slides else prepared
    folds = params.data.split.test_folds
    rows = {role: [prepared.indices(fold)[role] for fold in folds] for role in SPLITS}
    patients = {role: {group for own in rows[role] for group in prepared.patient_ids[own].tolist()} for role in SPLITS}
    return {
        "images": {role: sum(len(own) for own in rows[role]) for role in SPLITS},
        "groups": {role: len(patients[role]) for role in SPLITS},
        "groups_known": bool(prepared.info["groups_known"]),
        "protocol": params.data.split.protocol,
        "folds": list(folds),
        "classes": list(prepared.classes),
    }


def _cost(params: Params, trained_stage: Artifact, seconds: float, prepared: "PreparedDataset") -> dict[str, Any]:
    """Trained parameters, and the time that training took at the chosen rate."""
    import torch

    result = trained_stage.result()
    task = base.training(params.task.kind)  # before the context: a module imported in it would have meta constants
    with torch.device("meta"):
        plain = task.build(params, result["n_outputs"], load_weights=False)
    head, backbone = (sum(p.numel() for p in part.parameters()) for part in (plain.head, plain.backbone))
    trained = result["trainable"] - head
    used = [getattr(params, stage) for stage in params.training_stages]
    images = [len(prepared.indices(fold)["train"]) for fold in params.data.split.test_folds]
    seen = sum(count * section.repeats_for(count) * section.epochs for section in used for count in images)
    return {
        "trainable": trained,
        "head": head,
        "backbone_parameters": backbone,
        "share": trained / backbone,
        "seconds": seconds,
        "images_per_s": round(seen / max(seconds, 0.1), 1),
    }

"""Trial of the benchmark: train one method, select the learning rate on validation, and evaluate on test images.

The record of a trial is its artifact, a folder with result.json and predictions.csv.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
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
    """Return the folder of a trial's record."""
    return paths.stage("benchmark") / "trials" / trial.slug


def trial_key(
    params: Params, prepared: "PreparedDataset", trial: TrialId, threads: int, with_validation: bool = True
) -> str:
    """Compute the cache key of one trial.

    Args:
        params: params of the trial.
        prepared: the complete prepared data, of which the trial uses a subset.
        trial: identity of the trial, with the percentage and the seed that determine the subset.
        threads: number of CPU threads, which affects rounding.
        with_validation: True if the percentage also applies to the validation patients.

    Returns:
        The key.
    """
    inputs = {
        "data": prepared.digest,
        "roles": [prepared.split_digest(fold) for fold in params.data.split.test_folds],
        "schedule": params.schedule,
        "subset": [trial.percent, trial.seed, with_validation],
        "threads": threads,
    }
    defaults = {"frozen": FrozenParams(), "finetune": FinetuneParams()}
    unused = {name: default for name, default in defaults.items() if name not in params.training_stages}
    return keys.stage_key("trial", params.model_copy(update=unused), inputs, device_class())


def run(params: Params, paths: RunPaths, trial: TrialId, threads: int, with_validation: bool = True) -> Artifact:
    """Run one trial. After an interruption, the trial resumes.

    Args:
        params: params of the trial.
        paths: paths of the prepared data, the records and unfinished work.
        trial: identity of the trial.
        threads: number of CPU threads.
        with_validation: True if the percentage also applies to the validation patients.

    Returns:
        The record, with the metrics in result.json and the predictions for the test images in predictions.csv.

    Raises:
        RuntimeError: the loss is not finite at any learning rate, or a logit is not finite.
    """
    from medtune.data.prepared import open_prepared

    prepared = open_prepared(paths)
    folder, key = record_dir(paths, trial), trial_key(params, prepared, trial, threads, with_validation)
    tmp_dir = paths.cache / "benchmark" / "work" / key
    tmp_dir.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{tmp_dir}.lock"):  # another worker may still run this trial, although Dask considers it dead
        if finished := find_artifact(folder, key):
            return finished
        import torch

        from medtune.training.memory import PeakMemory

        torch.set_num_threads(threads)
        memory = PeakMemory(device_name())
        subset_paths = replace(paths, subset=TrainSubset(trial.percent, trial.seed, with_validation))
        subset = open_prepared(subset_paths)
        train_paths = replace(subset_paths, out=tmp_dir, data=subset_paths.prepared)
        stages = {fold: _train(params, train_paths, fold) for fold in params.data.split.test_folds}
        trained = {fold: artifacts[-1] for fold, artifacts in stages.items()}
        seconds = round(sum(artifact.result()["seconds"] for fold in stages.values() for artifact in fold), 1)
        folds = _evaluate(params, subset, trained, tmp_dir)
        peak = memory.megabytes()

        unfinished = partial_dir(folder)
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        record = {
            "stage": "benchmark",
            "trial": asdict(trial),
            **_rates(list(trained.values())),
            "monitor": getattr(params, params.training_stages[-1]).monitor,
            "metrics": _test(params, prepared, folds, unfinished),
            **_provenance_facts(params, subset),
            **_cost(params, next(iter(trained.values())), seconds, subset),
            "peak_memory_mb": peak,
            "device": device_class(),
            "threads": threads,
            "params": params.model_dump(mode="json"),
            "provenance": provenance(),
        }
        artifact = commit(folder, key, record)
        shutil.rmtree(tmp_dir, ignore_errors=True)
    Path(f"{tmp_dir}.lock").unlink(missing_ok=True)
    return artifact


def _train(params: Params, paths: RunPaths, fold: int) -> list[Artifact]:
    """Run the training stages of one test fold, and return their artifacts."""
    from medtune.stages import finetune, frozen

    stages = {"frozen": frozen, "finetune": finetune}
    return [stages[name].run(params, paths, fold) for name in params.training_stages]


def _rates(trained: Sequence[Artifact]) -> dict[str, Any]:
    """Collect the selected learning rates, and all tried learning rates with their validation scores.

    Args:
        trained: artifact of the last training stage, per fold.

    Returns:
        Fields of result.json. A score is the mean over the folds, or None if it is undefined for a fold.
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
                "epoch": candidates[0]["epoch"],
                "seconds": round(sum(candidate["seconds"] for candidate in candidates), 1),
                "validation": dict(_means([candidate["validation"] for candidate in candidates])),
            }
            for rate, candidates in sorted(by_rate.items())
        ],
        "validation": dict(_means([result["best"]["validation"] for result in results])),
    }


def _means(scores: Sequence[Mapping[str, float | None]]) -> Iterator[tuple[str, float | None]]:
    """Yield the name and the mean over folds of each score; None if the score of a fold is None."""
    for name in scores[0]:
        values = [fold[name] for fold in scores]
        known = [value for value in values if value is not None]
        yield name, sum(known) / len(known) if len(known) == len(values) else None


def _evaluate(
    params: Params, prepared: "PreparedDataset", trained: Mapping[int, Artifact], cache: Path
) -> "list[FoldResult]":
    """Evaluate the trained network of each test fold. For volumes, `cache` is the folder for predicted label maps."""
    from medtune.evaluation.outputs import OutputsRequest
    from medtune.evaluation.slides import to_slides
    from medtune.training.trained_outputs import compute_trained_outputs

    task = base.evaluation(params.task.kind)
    requests = [OutputsRequest.for_artifact(trained[fold], prepared) for fold in params.data.split.test_folds]
    device, size = device_name(), params.evaluate.batch_size
    if compute := getattr(task, "compute_outputs", None):
        outputs = compute(requests, prepared, params, device, cache)
    else:
        outputs = list(compute_trained_outputs(requests, prepared.images, device, size, lambda done: None))
    prepared, requests, outputs = to_slides(prepared, requests, outputs, params.model.head.aggregation)
    return list(task.evaluate_folds(requests, outputs, prepared, params.evaluate))


def _test(params: Params, prepared: "PreparedDataset", folds: "Sequence[FoldResult]", folder: Path) -> dict[str, Any]:
    """Write the test predictions to `folder`, and return all test metrics with intervals."""
    from medtune.data.slide_dataset import by_slide
    from medtune.evaluation.intervals import intervals

    prepared = by_slide(prepared) if prepared.slide_of_tile else prepared
    options, kind = params.evaluate, params.task.kind
    task = base.evaluation(kind)
    pooled = task.pool([fold.test for fold in folds])
    task.write_predictions(folder / PREDICTIONS_FILE, prepared, pooled)
    stats = pooled.stats(options)
    test = intervals(base.metrics(kind), stats, options.confidence)
    return {name: interval.as_dict() for name, interval in test.items()}


def _provenance_facts(params: Params, prepared: "PreparedDataset") -> dict[str, Any]:
    """Describe the training and test data. For slides, the counts are of slides, not of tiles."""
    from medtune.data.slide_dataset import by_slide
    from medtune.data.wording import wording

    prepared = by_slide(prepared) if prepared.slide_of_tile else prepared
    folds = params.data.split.test_folds
    rows = {split: [prepared.indices(fold)[split] for fold in folds] for split in SPLITS}
    patients = {split: set(prepared.patient_ids[np.concatenate(rows[split])].tolist()) for split in SPLITS}
    return {
        "images": {split: sum(map(len, rows[split])) for split in SPLITS},
        "item": wording(prepared.info).item,
        "patients": {split: len(patients[split]) for split in SPLITS},
        "patients_known": bool(prepared.info["patients_known"]),
        "protocol": params.data.split.protocol,
        "folds": list(folds),
        "classes": list(prepared.classes),
    }


def _cost(params: Params, trained_stage: Artifact, seconds: float, prepared: "PreparedDataset") -> dict[str, Any]:
    """Compute the number of trained parameters, the training time in seconds, and the throughput in images per s."""
    import torch

    result = trained_stage.result()
    task = base.training(params.task.kind)  # imported before the context, which would affect tensors of the modules
    with torch.device("meta"):
        plain = task.build(params, result["layout"], load_weights=False)
    head, backbone = (sum(p.numel() for p in module.parameters()) for module in (plain.head, plain.backbone))
    trained = result["trainable"] - head
    used = [getattr(params, stage) for stage in params.training_stages]
    images = [len(prepared.indices(fold)["train"]) for fold in params.data.split.test_folds]
    seen = sum(count * section.repeats_for(count) * section.epochs for section in used for count in images)
    return {
        "trainable": trained,
        "head": head,
        "backbone_parameters": backbone,
        "trainable_fraction": trained / backbone if backbone else 0.0,
        "seconds": seconds,
        "images_per_s": round(seen / max(seconds, 0.1), 1),
    }

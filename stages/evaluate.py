"""Stage evaluate: what the trained chains are worth on test images, with intervals over patients."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from medtune.config import load
from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.runtime import cache_key as keys
from medtune.runtime import console
from medtune.runtime.artifact import Artifact, find, partial, publish
from medtune.runtime.device import device_class, device_name
from medtune.runtime.lock import holding
from medtune.runtime.paths import Paths
from medtune.runtime.progress import progress
from medtune.runtime.provenance import provenance
from medtune.stages.preflight import ready
from medtune.tasks import base

if TYPE_CHECKING:
    from medtune.data.manifest import Prepared
    from medtune.evaluation.outputs import Logits, Wanted
    from medtune.models.classifier import Classifier


def key(params: Params, prepared: "Prepared", trained: Sequence[Artifact]) -> str:
    """Cache key of evaluating `trained`, one artifact a chain."""
    inputs = {
        "data": prepared.digest,
        "facts": prepared.info,  # protocol, leaks and notes are printed in the report
        "trained": [[artifact.key, artifact.sha256] for artifact in trained],
        "roles": [prepared.roles_digest(int(artifact.result()["fold"])) for artifact in trained],
    }
    return keys.stage_key("evaluate", params, inputs, device_class())


def run(params: Params, paths: Paths, trained: Sequence[Artifact], key: str, group: str) -> Artifact:
    """The finished artifacts/evaluate: metrics, predictions, plots and report of all chains' test images.

    Args:
        params: all params.
        paths: where things lie.
        trained: one trained artifact a chain.
        key: from `key`.
        group: of the W&B run.

    Raises:
        RuntimeError: a model gives logits that are not finite.
    """
    folder = paths.stage("evaluate")
    if done := find(folder, key):
        return done
    from medtune.data.manifest import load_prepared
    from medtune.evaluation import bootstrap
    from medtune.evaluation.outputs import Wanted, save
    from medtune.evaluation.result import EvaluationResult, common_facts, summary_line, write_metrics
    from medtune.evaluation.tables import join_history
    from medtune.tracking import lineage
    from medtune.tracking import metrics as figures
    from medtune.tracking.run import start

    began, options = time.monotonic(), params.evaluate
    task, metrics = base.evaluation(params.task.kind), base.metrics(params.task.kind)
    prepared = load_prepared(paths.prepared)
    work = partial(folder)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with start("evaluate", key, group, params, "evaluate") as tracked:
        lineage.uses(tracked, prepared, trained)
        wanted = sorted((Wanted.of(artifact, prepared) for artifact in trained), key=lambda one: one.fold)
        outputs = _outputs(wanted, prepared, options.batch_size, paths.cache)
        folds = [task.judge(w, found, prepared, options, params.seed) for w, found in zip(wanted, outputs, strict=True)]
        pooled = task.pool([fold.test for fold in folds])
        with progress("evaluate: bootstrap", options.bootstrap, "resamples") as advance:
            test = bootstrap.intervals(
                metrics, pooled.stats(options), options.bootstrap, options.confidence, params.seed, advance
            )
        result = EvaluationResult(prepared, wanted, outputs, folds, pooled, test)
        validation = task.pool([fold.val for fold in folds])
        common = common_facts(result, params, key, metrics, task.best(folds, options), validation)
        own = task.facts(result, params)
        facts = {**common, **own, "warnings": [*common["warnings"], *own.get("warnings", [])]}
        history = join_history(_histories(paths, params, prepared, wanted))
        pictures = task.write(work, result, params, facts, history)
        save(work / "logits.npz", wanted, outputs)
        figures.record(tracked, write_metrics(work / "metrics.json", test, facts, task.FACTS, params.seed), pictures)
        for line in [*facts["warnings"], summary_line(metrics, test, facts)]:
            console.say(f"evaluate: {line}")
        records = {fold.fold: fold.record() for fold in folds}
        return publish(folder, key, _result(params, facts, records, time.monotonic() - began))


def _outputs(wanted: "Sequence[Wanted]", prepared: "Prepared", batch_size: int, cache: Path) -> "list[Logits]":
    from medtune.evaluation import outputs as logits

    found = {one.fold: logits.load(one, cache) for one in wanted}
    missing = [one for one in wanted if found[one.fold] is None]
    if missing:
        from medtune.training.checkpoint import load_trained

        device = device_name()
        total = sum(len(rows) for one in missing for rows in one.rows.values())
        with progress(f"evaluate: outputs on {device}", total, "images") as advance:
            for one in missing:
                model = cast("Classifier", load_trained(one.trained))
                new = found[one.fold] = logits.compute(one, model, prepared.images, device, batch_size, advance)
                logits.store(one, new, cache)
    return [have for have in found.values() if have is not None]


def _histories(paths: Paths, params: Params, prepared: "Prepared", wanted: "Sequence[Wanted]") -> list[tuple[str, Any]]:
    """history.csv of every stage of every chain, in the order they ran."""
    from medtune.evaluation.tables import read_history

    stages = []
    if len(params.training_stages) > 1:
        first = [find(paths.stage("frozen", one.fold)) for one in wanted]
        same = [a for a in first if a and a.result().get("data_digest") == prepared.digest]
        stages.append(("frozen", [read_history(artifact.folder / "history.csv") for artifact in same]))
    last = [read_history(one.trained.folder / "history.csv") for one in wanted]
    return [*stages, (wanted[0].trained.result()["stage"], last)]


def _result(
    params: Params, facts: dict[str, Any], records: dict[int, dict[str, Any]], seconds: float
) -> dict[str, Any]:
    return {
        "stage": "evaluate",
        "best_fold": facts["best_fold"],
        "folds": {
            str(row["fold"]): {"kept": row["kept"], "validation": row["validation"], **records[row["fold"]]}
            for row in facts["folds"]
        },
        "classes": facts.get("classes", []),
        "params": params.model_dump(mode="json"),
        "data_digest": facts["data_digest"],
        "seconds": round(seconds, 1),
        "provenance": provenance(),
    }


def find_trained(params: Params, paths: Paths, prepared: "Prepared") -> list[Artifact]:
    """The finished trained artifact of every chain that params name.

    Raises:
        InputError: one is missing; names the command to run first.
    """
    from medtune.stages import finetune, frozen

    found = []
    for fold in params.data.split.chains:
        artifact = None
        for stage in params.training_stages:
            if stage == "frozen":
                own = frozen.key(params, prepared, fold)
            else:
                own = finetune.key(params, prepared, fold, artifact)
            artifact = find(paths.stage(stage, fold), own)
            if artifact is None:
                raise InputError(
                    f"no finished {stage} stage for fold {fold}: run `python -m medtune.stages.{stage}` first"
                )
        found.append(artifact)
    return [artifact for artifact in found if artifact is not None]


def main(params: console.ParamsFile = None, sets: console.Sets = None, out: console.Out = None) -> None:
    """Evaluate the trained chains on their test images."""
    read, paths = load.load(params, sets or ()), Paths.at(out)
    with holding(paths):
        prepared = ready(read, paths)
        trained = find_trained(read, paths, prepared)
        console.say(f"evaluate: {run(read, paths, trained, key(read, prepared, trained), 'by-hand').path}")


if __name__ == "__main__":
    console.run(main)

"""Stage evaluate: what the trained chains are worth on test images, with intervals over patients."""

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.runtime import cache_key as keys
from medtune.runtime import console
from medtune.runtime.artifact import Artifact, find, partial, publish
from medtune.runtime.device import device_class, device_name
from medtune.runtime.paths import Paths
from medtune.runtime.progress import progress
from medtune.runtime.provenance import provenance

if TYPE_CHECKING:
    from medtune.data.manifest import Prepared
    from medtune.evaluation.bootstrap import Interval
    from medtune.models.classifier import Classifier
    from medtune.tasks.classification.logits import Logits, Wanted


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
    from medtune.tasks.classification import folds, outputs
    from medtune.tasks.classification import result as findings
    from medtune.tasks.classification.logits import Wanted
    from medtune.tasks.classification.metrics import METRICS
    from medtune.tasks.classification.report import write_report
    from medtune.tasks.classification.tables import join_history
    from medtune.tracking import lineage
    from medtune.tracking import metrics as figures
    from medtune.tracking.run import start

    began, options = time.monotonic(), params.evaluate
    prepared = load_prepared(paths.prepared)
    work = partial(folder)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with start("evaluate", key, group, params, "evaluate") as tracked:
        lineage.uses(tracked, prepared, trained)
        wanted = sorted((Wanted.of(artifact, prepared) for artifact in trained), key=lambda one: one.fold)
        logits = _logits(wanted, prepared, options.batch_size, paths.cache)
        chains = [
            folds.judge(w, found, prepared, options, params.seed) for w, found in zip(wanted, logits, strict=True)
        ]
        pooled = folds.pool([one.test for one in chains])
        stats = pooled.stats(options.ece_bins)
        with progress("evaluate: bootstrap", options.bootstrap, "resamples") as advance:
            test = bootstrap.intervals(METRICS, stats, options.bootstrap, options.confidence, params.seed, advance)
        found = findings.Findings(prepared, wanted, logits, chains, pooled, test)
        facts = findings.describe(found, params, key)
        joined = join_history(_histories(paths, params, prepared, wanted))
        outputs.write_figures(work, params, found, facts)
        outputs.write_plots(work / "plots", found, joined, options.ece_bins)
        pictures = outputs.draw_pictures(work / "images", found, joined, options.ece_bins)
        write_report(work / "report.html", facts, test, pictures)
        figures.record(tracked, json.loads((work / "metrics.json").read_text(encoding="utf-8")), pictures)
        for line in [*facts["warnings"], _summary(test, facts)]:
            console.say(f"evaluate: {line}")
        return publish(folder, key, _result(params, facts, time.monotonic() - began))


def _logits(wanted: "Sequence[Wanted]", prepared: "Prepared", batch_size: int, cache: Path) -> "list[Logits]":
    from medtune.tasks.classification import logits

    found = {one.fold: logits.load(one, cache) for one in wanted}
    missing = [one for one in wanted if found[one.fold] is None]
    if missing:
        from medtune.training.checkpoint import load_trained

        device = device_name()
        total = sum(len(rows) for one in missing for rows in one.rows.values())
        with progress(f"evaluate: logits on {device}", total, "images") as advance:
            for one in missing:
                model = cast("Classifier", load_trained(one.trained))
                new = found[one.fold] = logits.compute(one, model, prepared.images, device, batch_size, advance)
                logits.store(one, new, cache)
    return [have for have in found.values() if have is not None]


def _histories(paths: Paths, params: Params, prepared: "Prepared", wanted: "Sequence[Wanted]") -> list[tuple[str, Any]]:
    """history.csv of every stage of every chain, in the order they ran."""
    from medtune.tasks.classification.tables import read_history

    stages = []
    if len(params.training_stages) > 1:
        first = [find(paths.stage("frozen", one.fold)) for one in wanted]
        same = [a for a in first if a and a.result().get("data_digest") == prepared.digest]
        stages.append(("frozen", [read_history(artifact.folder / "history.csv") for artifact in same]))
    last = [read_history(one.trained.folder / "history.csv") for one in wanted]
    return [*stages, (wanted[0].trained.result()["stage"], last)]


def _summary(test: "dict[str, Interval]", facts: dict[str, Any]) -> str:
    from medtune.tasks.classification.metrics import METRICS
    from medtune.tasks.classification.report import figure

    shown = []
    for metric in METRICS:
        if metric.headline and (one := test.get(metric.name)):
            between = "" if one.lo is None else f" ({figure(one.lo)} to {figure(one.hi)})"
            shown.append(f"{metric.title} {figure(one.value)}{between}")
    whose = f"of {facts['n_groups']} patients" if facts["groups_known"] else "(patients unknown)"
    return f"{', '.join(shown)} on {facts['n_images']} images {whose}"


def _result(params: Params, facts: dict[str, Any], seconds: float) -> dict[str, Any]:
    kept = ("kept", "temperature", "decision", "validation")
    return {
        "stage": "evaluate",
        "best_fold": facts["best_fold"],
        "folds": {str(row["fold"]): {name: row[name] for name in kept} for row in facts["folds"]},
        "classes": facts["classes"],
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
                raise InputError(f"artifacts/{stage}/fold-{fold}: not finished. Run `medtune stage {stage}` first")
        found.append(artifact)
    return [artifact for artifact in found if artifact is not None]

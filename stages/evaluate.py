"""Stage evaluate: what the trained chains are worth on test images, with intervals over patients."""

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from medtune.config.schema import Params
from medtune.runtime import console
from medtune.runtime.artifact import Artifact, find, partial, publish
from medtune.runtime.device import device_name
from medtune.runtime.paths import Paths
from medtune.runtime.progress import progress
from medtune.runtime.provenance import provenance
from medtune.stages.steps import Steps

if TYPE_CHECKING:
    from medtune.data.manifest import Prepared
    from medtune.evaluation.bootstrap import Interval
    from medtune.models.classifier import Classifier
    from medtune.tasks.classification.logits import Logits, Wanted


def run(params: Params, paths: Paths, fold: int | None = None) -> Artifact:
    """Evaluate the trained folds on their test images.

    Args:
        params: all params.
        paths: where to read and write.
        fold: always None: all folds that the params name are evaluated together.

    Returns:
        artifacts/evaluate: metrics, predictions, plots and report.

    Raises:
        InputError: a fold is not trained yet.
        RuntimeError: a model gives logits that are not finite.
    """
    steps = Steps(params, paths)
    step = steps.resolve("evaluate", fold)
    if step.artifact is not None:
        return step.artifact
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
    folder, key, trained, prepared = paths.stage("evaluate"), step.key, step.upstream, steps.prepared
    work = partial(folder)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with start("evaluate", key, steps.group, params, "evaluate") as tracked:
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

"""Stage evaluate: metrics of the trained networks on test images, with intervals over patients."""

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.config.schema import Params
from medtune.runtime import console
from medtune.runtime.artifact import Artifact, commit, find_artifact, partial_dir
from medtune.runtime.device import device_name
from medtune.runtime.paths import RunPaths
from medtune.runtime.progress import progress
from medtune.runtime.provenance import provenance
from medtune.serving.members import REFIT
from medtune.stages.steps import Steps
from medtune.tasks import base

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset
    from medtune.evaluation.metric import Metric
    from medtune.evaluation.outputs import Outputs, OutputsRequest
    from medtune.evaluation.result import EvaluationResult, FoldResult


def run(params: Params, paths: RunPaths, fold: int | None = None) -> Artifact:
    """Evaluate the trained networks on the test images of the folds that the params name, and of all folds.

    Args:
        params: all params.
        paths: where to read and write.
        fold: always None: all folds are evaluated together.

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
    from medtune.evaluation.baselines import baseline_lines, verdict
    from medtune.evaluation.checklist import FILE as CHECKLIST
    from medtune.evaluation.checklist import write_checklist
    from medtune.evaluation.cross_validation import PREDICTIONS_FILE, cross_validate, headlines
    from medtune.evaluation.external_split import evaluate_external, external_line
    from medtune.evaluation.facts import common_facts
    from medtune.evaluation.final_model import final_model
    from medtune.evaluation.intervals import intervals
    from medtune.evaluation.outputs import OutputsRequest, save_outputs
    from medtune.evaluation.result import EvaluationResult, site_lines, write_metrics
    from medtune.evaluation.slides import to_slides
    from medtune.evaluation.subgroup_tables import table_lines, write_subgroups
    from medtune.evaluation.tables import join_history
    from medtune.tracking import lineage
    from medtune.tracking import metrics as figures
    from medtune.tracking.run import start_run

    began, options = time.monotonic(), params.evaluate
    task, metrics = base.evaluation(params.task.kind), base.metrics(params.task.kind)
    folder, key, trained, prepared = paths.stage("evaluate"), step.key, step.upstream, steps.prepared
    work = partial_dir(folder)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with start_run("evaluate", key, steps.group, params, "evaluate") as tracked:
        lineage.log_inputs(tracked, prepared, trained)
        asked = [OutputsRequest.for_artifact(artifact, prepared) for artifact in trained]
        asked = sorted((one for one in asked if one.indices), key=lambda one: (one.fold == REFIT, one.fold))
        stored = _outputs(asked, prepared, options.batch_size, paths.cache)
        save_outputs(work / "logits.npz", asked, stored)
        packed, requests = prepared, [one for one in asked if one.fold != REFIT]
        prepared, asked, scored = to_slides(prepared, asked, stored, params.model.head.aggregation)
        wanted, outputs = asked[: len(requests)], scored[: len(requests)]
        every = task.evaluate_folds(wanted, outputs, prepared, options)
        final = task.fit_rules(wanted, outputs, prepared, options) if params.final == "refit" else None
        decision = final.record()["decision"] if final else task.choose_decision(every, prepared, options)
        named = [k for k, fold in enumerate(every) if fold.fold in params.data.split.test_folds]
        folds = [every[k] for k in named]
        pooled, tested = (task.pool([fold.test for fold in some]) for some in (folds, every))
        test = intervals(metrics, pooled.stats(options), options.confidence)
        result = EvaluationResult(
            prepared, [wanted[k] for k in named], [outputs[k] for k in named], folds, pooled, test, trained=every
        )
        validation = task.pool([fold.val for fold in folds])
        common = common_facts(result, params, key, metrics, decision, validation)
        own = task.facts(result, options)
        facts = {**common, **own, "warnings": [*common["warnings"], *own.get("warnings", [])]}
        facts["final"] = final_model(params, trained)
        if len(every) > len(folds):
            facts["cross_validation"] = cross_validate(every, tested, metrics, options)
            task.write_predictions(work / PREDICTIONS_FILE, prepared, tested)
        rules, last = ([final], slice(-1, None)) if final else (every, slice(None))
        facts["external_test"], outside = evaluate_external(
            task, rules, asked[last], scored[last], prepared, decision, options, metrics
        )
        facts["baselines"] = _baselines(task, params, packed, requests, tested, metrics, paths.cache)
        facts["baseline_verdict"] = verdict(facts["baselines"], base.metric(params.task.kind, "auroc"))
        facts["subgroups"] = _subgroups(result, params, metrics, task.CLASS_AVERAGES)
        history = join_history(_histories(paths, params, prepared, result.requests))
        pictures = task.write(work, result, options, facts, history)
        if facts["external_test"]:
            task.write_predictions(work / "predictions_external.csv", prepared, outside)
        write_checklist(work / CHECKLIST, params, prepared, facts, test, metrics)
        if facts["subgroups"]:
            write_subgroups(work / "subgroups.csv", facts["subgroups"])
        figures.log_evaluation(tracked, write_metrics(work / "metrics.json", test, facts, task.FACTS), pictures)
        for line in [
            *facts["warnings"],
            *([facts["final"]["what"]] if final else []),
            *table_lines(facts["subgroups"], metrics, facts["groups_known"], facts["unit"]),
            *site_lines(metrics, facts),
            *baseline_lines(facts["baselines"], metrics),
            *headlines(metrics, test, facts),
            *(
                [external_line(facts["external_test"], metrics, facts["groups_known"])]
                if facts["external_test"]
                else []
            ),
        ]:
            console.info(f"evaluate: {line}")
        choices = {one.fold: one.trained.result().get("choices", {}) for one in wanted}
        result_json = _result(params, facts, every, choices, metrics, time.monotonic() - began)
        return commit(folder, key, result_json | ({"refit": final.record()} if final else {}))


def _outputs(
    requests: "Sequence[OutputsRequest]", prepared: "PreparedDataset", batch_size: int, cache: Path
) -> "list[Outputs]":
    from medtune.evaluation import outputs as logits

    found = {one.fold: logits.load_outputs(one, cache) for one in requests}
    missing = [one for one in requests if found[one.fold] is None]
    if missing:
        from medtune.training.trained_outputs import backbone_runs, compute_trained_outputs

        device = device_name()
        with progress(f"evaluate: outputs on {device}", backbone_runs(missing), "images") as advance:
            computed = compute_trained_outputs(missing, prepared.images, device, batch_size, advance)
            for one, new in zip(missing, computed, strict=True):
                found[one.fold] = new
                logits.store_outputs(one, new, cache)
    return [have for have in found.values() if have is not None]


def _baselines(
    task: Any,
    params: Params,
    prepared: "PreparedDataset",
    requests: "Sequence[OutputsRequest]",
    tested: Any,
    metrics: "Sequence[Metric]",
    cache: Path,
) -> list[dict[str, Any]]:
    """Logistic regression on features of the frozen backbone, over all folds; empty for a task without baselines."""
    from medtune.evaluation.baselines import evaluate_baselines, rows_needed
    from medtune.training.frozen_features import compute_frozen_features

    fitting = getattr(task, "baseline", None)
    if fitting is None:
        return []
    features = compute_frozen_features(params, prepared, rows_needed(prepared, requests), cache, device_name())
    return evaluate_baselines(task, fitting, prepared, requests, tested, features, metrics, params.evaluate)


def _subgroups(
    result: "EvaluationResult", params: Params, metrics: "Sequence[Metric]", class_averages: Sequence[str]
) -> list[dict[str, Any]]:
    """Metrics per subgroup, one entry per column of `evaluate.by`."""
    from medtune.evaluation.subgroup_result import evaluate_subgroups

    options = params.evaluate
    if not options.by:
        return []
    with progress("evaluate: subgroups", len(options.by), "columns") as advance:
        return evaluate_subgroups(result.prepared, result.pooled, metrics, class_averages, options, advance)


def _histories(
    paths: RunPaths, params: Params, prepared: "PreparedDataset", requests: "Sequence[OutputsRequest]"
) -> list[tuple[str, Any]]:
    """history.csv of every stage of every chain, in the order they ran."""
    from medtune.evaluation.tables import read_history

    stages = []
    if len(params.training_stages) > 1:
        first = [find_artifact(paths.stage("frozen", one.fold)) for one in requests]
        same = [a for a in first if a and a.result().get("data_digest") == prepared.digest]
        stages.append(("frozen", [read_history(artifact.folder / "history.csv") for artifact in same]))
    last = [read_history(one.trained.folder / "history.csv") for one in requests]
    return [*stages, (requests[0].trained.result()["stage"], last)]


def _result(
    params: Params,
    facts: dict[str, Any],
    folds: "Sequence[FoldResult]",
    choices: "Mapping[int, Any]",
    metrics: "Sequence[Metric]",
    seconds: float,
) -> dict[str, Any]:
    from medtune.evaluation.metric import values

    return {
        "stage": "evaluate",
        "test_folds": params.data.split.test_folds,
        "decision": facts["decision"],
        "folds": {
            str(fold.fold): {
                "kept": fold.selected_stage,
                "choices": choices[fold.fold],
                "validation": values(metrics, fold.val.stats(params.evaluate)),
                **fold.record(),
            }
            for fold in folds
        },
        "classes": facts.get("classes", []),
        "baseline_verdict": facts["baseline_verdict"],
        "params": params.model_dump(mode="json"),
        "data_digest": facts["data_digest"],
        "seconds": round(seconds, 1),
        "provenance": provenance(),
    }

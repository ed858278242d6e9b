"""Stage evaluate: metrics of the trained networks on the test images, with confidence intervals over patients."""

import shutil
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medtune.config.schema import Params
from medtune.runtime import console
from medtune.runtime.artifact import Artifact, commit, find_artifact, partial_dir
from medtune.runtime.paths import RunPaths
from medtune.runtime.progress import progress
from medtune.runtime.provenance import provenance
from medtune.serving.members import REFIT
from medtune.stages.steps import Steps
from medtune.tasks import base

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset
    from medtune.evaluation.metric import Metric
    from medtune.evaluation.outputs import OutputsRequest
    from medtune.evaluation.result import EvaluationResult, FoldResult


def run(params: Params, paths: RunPaths, fold: int | None = None) -> Artifact:
    """Evaluate the trained networks on test images.

    The main metrics are from the test folds in `data.split.test_fold`. If more folds are trained, the metrics of all
    folds are computed too (cross-validation).

    Args:
        params: all params.
        paths: where to read and write.
        fold: must be None, because all folds are evaluated together.

    Returns:
        The artifact artifacts/evaluate with metrics, predictions, plots and report.

    Raises:
        InputError: a fold is not trained yet.
        ValueError: `fold` is not None.
        RuntimeError: a network returns logits that are not finite.
    """
    steps = Steps(params, paths)
    step = steps.resolve("evaluate", fold)
    if step.artifact is not None:
        return step.artifact
    from medtune.evaluation.baselines import baseline_lines, verdict, verdict_metric
    from medtune.evaluation.checklist import FILE as CHECKLIST
    from medtune.evaluation.checklist import write_checklist
    from medtune.evaluation.control_comparison import control_lines
    from medtune.evaluation.cross_validation import PREDICTIONS_FILE, cross_validate, headlines
    from medtune.evaluation.external_split import evaluate_external, external_line
    from medtune.evaluation.facts import common_facts
    from medtune.evaluation.final_model import final_model
    from medtune.evaluation.intervals import intervals
    from medtune.evaluation.outputs import OutputsRequest, write_outputs_npz
    from medtune.evaluation.result import EvaluationResult, site_lines, write_metrics
    from medtune.evaluation.slides import to_slides
    from medtune.evaluation.subgroup_tables import table_lines, write_subgroups
    from medtune.evaluation.tables import join_history
    from medtune.stages.evaluate_comparisons import compare_controls, compare_linear_baselines
    from medtune.stages.evaluate_outputs import network_outputs
    from medtune.tracking import lineage
    from medtune.tracking import metrics as tracking_metrics
    from medtune.tracking.run import start_run

    start_time, options = time.monotonic(), params.evaluate
    folder, key, trained, prepared = paths.stage("evaluate"), step.key, step.upstream, steps.prepared
    task, metrics = base.evaluation(params.task.kind), base.metrics(params.task.kind, prepared.info)
    work = partial_dir(folder)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with start_run("evaluate", key, steps.group, params, "evaluate") as tracked:
        lineage.log_inputs(tracked, prepared, trained)
        all_requests = [OutputsRequest.for_artifact(artifact, prepared) for artifact in trained]
        extend = getattr(task, "extend_request", lambda request, prepared: request)
        all_requests = [extend(request, prepared) for request in all_requests if request.indices]
        all_requests.sort(key=lambda request: (request.fold == REFIT, request.fold))
        stored = network_outputs(task, all_requests, prepared, params, paths.cache)
        if not hasattr(task, "compute_outputs"):
            write_outputs_npz(work / "logits.npz", all_requests, stored)
        packed, packed_requests = prepared, [request for request in all_requests if request.fold != REFIT]
        prepared, all_requests, all_outputs = to_slides(prepared, all_requests, stored, params.model.head.aggregation)
        requests, outputs = all_requests[: len(packed_requests)], all_outputs[: len(packed_requests)]
        all_folds = task.evaluate_folds(requests, outputs, prepared, options)
        final = task.fit_rules(requests, outputs, prepared, options) if params.final == "refit" else None
        decision = final.record()["decision"] if final else task.choose_decision(all_folds, prepared, options)
        positions = [k for k, fold in enumerate(all_folds) if fold.fold in params.data.split.test_folds]
        folds = [all_folds[k] for k in positions]
        pooled, tested = (task.pool([fold.test for fold in evaluated]) for evaluated in (folds, all_folds))
        class_metrics = getattr(task, "class_metrics", lambda prepared: ())(prepared)
        test = intervals([*metrics, *class_metrics], pooled.stats(options), options.confidence)
        result = EvaluationResult(
            prepared,
            [requests[k] for k in positions],
            [outputs[k] for k in positions],
            folds,
            pooled,
            test,
            trained=all_folds,
        )
        validation = task.pool([fold.val for fold in folds])
        common = common_facts(result, params, key, metrics, decision, validation)
        task_facts = task.facts(result, options)
        facts = {**common, **task_facts, "warnings": [*common["warnings"], *task_facts.get("warnings", [])]}
        facts["final"] = final_model(params, trained, facts["unit"])
        if len(all_folds) > len(folds):
            facts["cross_validation"] = cross_validate(all_folds, tested, metrics, options)
            task.write_predictions(work / PREDICTIONS_FILE, prepared, tested)
        rules, last = ([final], slice(-1, None)) if final else (all_folds, slice(None))
        facts["external_test"], external_predictions = evaluate_external(
            task, rules, all_requests[last], all_outputs[last], prepared, decision, options, metrics
        )
        if compare := getattr(task, "compare_baselines", None):
            facts["baselines"] = compare(requests, outputs, prepared, tested, metrics, options)
        else:
            facts["baselines"] = compare_linear_baselines(
                task, params, packed, packed_requests, tested, metrics, paths.cache
            )
        facts["baseline_verdict"] = verdict(facts["baselines"], verdict_metric(metrics))
        facts["controls"] = compare_controls(task, steps, packed, tested, metrics)
        facts["subgroups"] = _subgroups(result, params, metrics, task.CLASS_AVERAGES)
        history = join_history(_histories(paths, params, prepared, result.requests))
        plots = task.write(work, result, options, facts, history)
        if facts["external_test"]:
            task.write_predictions(work / "predictions_external.csv", prepared, external_predictions)
        answers = getattr(task, "checklist_answers", None)
        of_task = answers(params, prepared, facts) if answers else {}
        write_checklist(work / CHECKLIST, params, prepared, facts, test, metrics, of_task)
        if facts["subgroups"]:
            write_subgroups(work / "subgroups.csv", facts["subgroups"])
        written = write_metrics(work / "metrics.json", test, facts, task.FACTS)
        tracking_metrics.log_evaluation(tracked, written, plots)
        for line in [
            *facts["warnings"],
            *([facts["final"]["what"]] if final else []),
            *table_lines(facts["subgroups"], metrics, facts["patients_known"], facts["unit"]),
            *site_lines(metrics, facts),
            *baseline_lines(facts["baselines"], metrics),
            *control_lines(facts["controls"]),
            *headlines(metrics, test, facts),
            *([external_line(facts["external_test"], metrics, facts)] if facts["external_test"] else []),
        ]:
            console.info(f"evaluate: {line}")
        choices = {request.fold: request.trained.result().get("choices", {}) for request in requests}
        result_json = _result(params, facts, all_folds, choices, metrics, time.monotonic() - start_time)
        return commit(folder, key, result_json | ({"refit": final.record()} if final else {}))


def _subgroups(
    result: "EvaluationResult", params: Params, metrics: "Sequence[Metric]", class_averages: Sequence[str]
) -> list[dict[str, Any]]:
    """Compute the metrics per subgroup of the test images, one entry per column of `evaluate.by`."""
    from medtune.evaluation.subgroup_result import evaluate_subgroups

    options = params.evaluate
    if not options.by:
        return []
    with progress("evaluate: subgroups", len(options.by), "columns") as advance:
        return evaluate_subgroups(result.prepared, result.pooled, metrics, class_averages, options, advance)


def _histories(
    paths: RunPaths, params: Params, prepared: "PreparedDataset", requests: "Sequence[OutputsRequest]"
) -> list[tuple[str, Any]]:
    """Read history.csv (the losses and metrics per epoch) of every stage and fold.

    Returns:
        One entry per stage, in the order of training: the name, and one history per fold.
    """
    from medtune.evaluation.tables import read_history

    stages = []
    if len(params.training_stages) > 1:
        frozen = [find_artifact(paths.stage("frozen", request.fold)) for request in requests]
        current = [a for a in frozen if a and a.result().get("data_digest") == prepared.digest]
        stages.append(("frozen", [read_history(artifact.folder / "history.csv") for artifact in current]))
    last = [read_history(request.trained.folder / "history.csv") for request in requests]
    return [*stages, (requests[0].trained.result()["stage"], last)]


def _result(
    params: Params,
    facts: dict[str, Any],
    folds: "Sequence[FoldResult]",
    choices: "Mapping[int, Any]",
    metrics: "Sequence[Metric]",
    seconds: float,
) -> dict[str, Any]:
    """Return the content of result.json."""
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
        "controls": [entry["sentence"] for entry in facts["controls"] if entry["trained"]],
        "params": params.model_dump(mode="json"),
        "data_digest": facts["data_digest"],
        "seconds": round(seconds, 1),
        "provenance": provenance(),
    }

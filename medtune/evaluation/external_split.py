"""Evaluation of external test images, which are never used for training or selection.

Only `data.split.protocol=column` can mark images as external.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import EvaluateParams
from medtune.evaluation.intervals import intervals
from medtune.evaluation.metric import Metric
from medtune.evaluation.metric_notes import lower_is_better
from medtune.evaluation.outputs import EXTERNAL, Outputs, OutputsRequest
from medtune.evaluation.result import Rules, count_samples
from medtune.evaluation.templates import format_value, render_template

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


def evaluate_external(
    task: Any,
    rules: Sequence[Rules],
    requests: Sequence[OutputsRequest],
    outputs: Sequence[Outputs],
    prepared: "PreparedDataset",
    decision: Mapping[str, Any],
    options: EvaluateParams,
    metrics: Sequence[Metric],
) -> tuple[dict[str, Any] | None, Any]:
    """Evaluate the external images with the exported model, which is the mean of the networks and a decision rule.

    Args:
        task: evaluation functions of the task (`medtune.tasks.base.Evaluation`).
        rules: calibration of each network.
        requests: fold and image indices of each network.
        outputs: outputs of each network, in the same order.
        prepared: prepared data. For slides, this is the set of slides, not of tiles.
        decision: decision rule of the exported model.
        options: section `evaluate` of the params.
        metrics: metrics of the task.

    Returns:
        A tuple of the value of `external_test` in metrics.json and the predictions. Both are None if there are no
        external images.
    """
    if EXTERNAL not in requests[0].indices:
        return None, None
    members = [rule.calibrate(by_split[EXTERNAL]) for rule, by_split in zip(rules, outputs, strict=True)]
    document = {"decision": decision, "classes": list(prepared.classes)}
    combine = getattr(task, "combine_networks", lambda outputs: np.mean(outputs, axis=0))
    pooled = task.from_bundle(prepared, requests[0].indices[EXTERNAL], combine(members), document)
    by_name = intervals(metrics, pooled.stats(options), options.confidence)
    return {
        "n_images": len(pooled.rows),
        "n_patients": len(np.unique(pooled.patient_ids)),
        "metrics": {name: interval.as_dict() for name, interval in by_name.items()},
    }, pooled


def external_section(external: Mapping[str, Any] | None, metrics: Sequence[Metric], facts: Mapping[str, Any]) -> str:
    """Render the section of report.html about external test images.

    Args:
        external: result of `evaluate_external`.
        metrics: metrics of the task.
        facts: result of `medtune.evaluation.facts.common_facts`, plus the facts of the task and `controls`.

    Returns:
        HTML; an empty string if there are no external images.
    """
    if not external:
        return ""
    title, sentence = f"External test {facts.get('unit', 'images')}", "Never used for training or selection"
    if any(control["trained"] for control in facts.get("controls") or []):
        sentence += ", and not predicted by the controls"
    return metrics_section(title, sentence, external, metrics, facts)


def metrics_section(
    title: str, sentence: str, document: Mapping[str, Any], metrics: Sequence[Metric], facts: Mapping[str, Any]
) -> str:
    """Render a section of report.html with a table of metrics.

    Args:
        title: heading of the section.
        sentence: text above the table, without a full stop.
        document: `n_images`, `n_patients` and `metrics`, as in metrics.json.
        metrics: metrics of the task.
        facts: result of `medtune.evaluation.facts.common_facts`, plus the facts of the task.

    Returns:
        HTML.
    """
    return render_template(
        "evaluation/metrics_section.html.j2",
        title=title,
        sentence=sentence,
        counts=count_samples(document, facts),
        directions=lower_is_better(metrics, document["metrics"]),
        rows=[
            (metric.title + metric.positive_note(facts.get("positive")), document["metrics"][metric.name])
            for metric in metrics
            if metric.name in document["metrics"]
        ],
        percent=facts["percent"],
    )


def external_line(external: Mapping[str, Any], metrics: Sequence[Metric], facts: Mapping[str, Any]) -> str:
    """Return one line with the headline metrics (`Metric.headline`) of the external images."""
    return f"external: {metrics_line(external, metrics, facts)}"


def metrics_line(document: Mapping[str, Any], metrics: Sequence[Metric], facts: Mapping[str, Any]) -> str:
    """Return one line with the headline metrics and the numbers of images and patients of `document`."""
    shown = []
    for metric in metrics:
        if metric.headline and (entry := document["metrics"].get(metric.name)):
            between = "" if entry["lo"] is None else f" ({format_value(entry['lo'])} to {format_value(entry['hi'])})"
            shown.append(f"{metric.title} {format_value(entry['value'])}{between}")
    return f"{', '.join(shown)} on {count_samples(document, facts)}"

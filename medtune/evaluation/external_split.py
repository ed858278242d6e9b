"""External test images (protocol column): scored by the finished networks, and used for nothing else."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from medtune.config.schema import EvaluateParams
from medtune.evaluation.intervals import intervals
from medtune.evaluation.metric import Metric
from medtune.evaluation.outputs import EXTERNAL, Outputs, OutputsRequest

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

SECTION = """\
<h2>External test images</h2>
<p class="facts">{{ external.n_images }} images of {{ external.n_groups }} {{ unit }}; never used for a choice.</p>
<table>
<tr><th>metric</th><th class="n">value</th><th class="n">{{ percent }} % interval</th><th></th></tr>
{% for title, entry in rows %}<tr><td>{{ title }}</td><td class="n">{{ entry.value|number }}</td>
<td class="n">{{ entry.lo|number }} to {{ entry.hi|number }}</td>
<td class="note">{{ entry.reason | default("", true) }}</td></tr>
{% endfor %}</table>
"""


def evaluate_external(
    task: Any,
    requests: Sequence[OutputsRequest],
    outputs: Sequence[Outputs],
    prepared: "PreparedDataset",
    options: EvaluateParams,
    metrics: Sequence[Metric],
    seed: int,
) -> tuple[dict[str, Any] | None, Any]:
    """Evaluate the external images with post-processing and decision from validation.

    Args:
        task: the task's evaluation (`medtune.tasks.base.Evaluation`).
        requests: one per fold.
        outputs: of each fold's network, in the same order.
        prepared: the data.
        options: section evaluate.
        metrics: of the task.
        seed: of the choice of the decision.

    Returns:
        What metrics.json says under `external_test`, and the predictions; None twice without external images.
    """
    folds = [
        task.evaluate_fold(
            request.on_external(), {"val": found["val"], "test": found[EXTERNAL]}, prepared, options, seed
        )
        for request, found in zip(requests, outputs, strict=True)
        if EXTERNAL in request.indices
    ]
    if not folds:
        return None, None
    pooled = task.pool([fold.test for fold in folds])
    found = intervals(metrics, pooled.stats(options), options.confidence)
    document = {
        "n_images": len(pooled.rows),
        "n_groups": len(np.unique(pooled.patient_ids)),
        "metrics": {name: one.as_dict() for name, one in found.items()},
    }
    return document, pooled


def external_section(external: Mapping[str, Any] | None, metrics: Sequence[Metric], facts: Mapping[str, Any]) -> str:
    """Return the section of report.html; empty without external images.

    Args:
        external: from `evaluate_external`.
        metrics: of the task.
        facts: `medtune.evaluation.result.common_facts`, and the task's own.
    """
    if not external:
        return ""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["number"] = _number
    return environment.from_string(SECTION).render(
        external=external,
        rows=[
            (metric.title + metric.positive_note(facts.get("positive")), external["metrics"][metric.name])
            for metric in metrics
            if metric.name in external["metrics"]
        ],
        unit="patients" if facts["groups_known"] else "patients (each image counts as one)",
        percent=facts["percent"],
    )


def external_line(external: Mapping[str, Any], metrics: Sequence[Metric], groups_known: bool) -> str:
    """Return the headline metrics of the external images in one line."""
    shown = []
    for metric in metrics:
        if metric.headline and (entry := external["metrics"].get(metric.name)):
            between = "" if entry["lo"] is None else f" ({_number(entry['lo'])} to {_number(entry['hi'])})"
            shown.append(f"{metric.title} {_number(entry['value'])}{between}")
    whose = f"of {external['n_groups']} patients" if groups_known else "(patients unknown)"
    return f"external: {', '.join(shown)} on {external['n_images']} images {whose}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"

"""Model card of a bundle (MODEL_CARD.md), rendered from the facts in bundle.json."""

from typing import Any

import jinja2
import numpy as np

from medtune.data.class_selection import most_frequent
from medtune.evaluation.choices import describe_choices
from medtune.evaluation.subgroup_tables import markdown_lines
from medtune.tasks import base

NOTICE = "Research use only: not a medical device, not for diagnosis or treatment."

TEMPLATE = """\
{% macro ends(entry) %}{% if entry.reason is defined %}no interval: {{ entry.reason }} | {% else %}\
{{ number(entry.lo) }} | {{ number(entry.hi) }}{% endif %}{% endmacro %}\
# {{ name }}

**{{ notice }}**

{{ text.purpose }}
Backbone `{{ params.model.backbone }}`, head `{{ params.model.head.kind }}`, selected stage: {{ exported.stage }}
(schedule `{{ params.schedule }}`, PEFT method `{{ params.model.peft.method }}`).

## How to run
```
medtune verify FOLDER                      # verify every file, run the samples
medtune predict FOLDER IMAGES --out predictions.csv
```
The bundle needs only onnxruntime >= {{ requires.onnxruntime }}, numpy and Pillow. {{ text.inside }} are
part of the graph. Its input is uint8 RGB (N, {{ input.shape[1] }}, {{ input.shape[2] }}, 3).
Its output is {{ text.output }}.
Images of another size are resized by `{{ preprocessing.resize }}`, {{ preprocessing.interpolation }}, antialiased.
{{ text.decision }}

| precision | file | shipped | largest difference from the trained network | {{ text.agreement }} |
|-|-|-|-|-|
{% for label, entry in precisions.items() -%}
| {{ label }} | {{ entry.file }} | {{ "yes" if entry.shipped else "no: " ~ entry.reason }}\
{% if entry.shipped and entry.speedup is defined -%}
, {{ "%.1f" | format(entry.speedup) }} x as fast as fp32 on the CPU that exported it
{%- endif %} | \
{% set same = parity[label] -%}
{% if same and same.max_abs_diff is not none -%}
{{ "%.1e" | format(same.max_abs_diff) }} | {{ percent(agrees(same)) }} of {{ same.images }} images |
{% else -%}
not measured | not measured |
{% endif -%}
{% endfor %}
## Data
{{ data.name }}: {{ data.n_images }} {{ data.unit | default("images") }}, \
{% if data.patients_known %}{{ data.n_patients }} patients{% else %}no patient ids{% endif %}. \
Split protocol `{{ protocol }}`. Data digest `{{ data_digest }}`.

{% if exported.final == "single" -%}
| class | images | train | validation | test |
|-|-|-|-|-|
{% for class, count in shown_counts.items() -%}
| {{ class }} | {{ count.all }} | {{ count.train }} | {{ count.val }} | {{ count.test }} |
{% endfor %}
{%- else -%}
| class | images |
|-|-|
{% for class, count in shown_counts.items() -%}
| {{ class }} | {{ count.all }} |
{% endfor %}
{%- endif %}
{%- if shown_counts | length < data.counts | length %}
The table has the {{ shown_counts | length }} most frequent of {{ data.counts | length }} classes. bundle.json has all.
{% endif %}
- License of the data: {{ data.licence or "not stated" }}. `sample_input.npy` contains \
some of its images under the same license.
- Citation: {{ data.citation or "not stated" }}
{%- for fault in data.faults %}
- Known issue: {{ fault }}
{%- endfor %}

## Metrics
{% for warning in metrics.warnings | default([]) -%}
**{{ warning }}**

{% endfor -%}
{% if not data.patients_known -%}
**There are no patient ids. Images of one patient may be in both training and test.**

{% endif -%}
{% set unit = "patient" if data.patients_known else "image" -%}
{{ metrics.n_images }} test images of {{ metrics.n_patients }} {{ unit }}s, stage {{ metrics.stage }}, \
protocol `{{ metrics.protocol }}`. \
Intervals: {{ percent(params.evaluate.confidence) }}, jackknife over {{ unit }}s. The trained network is held fixed.
{% if exported.final == "refit" -%}
{{ metrics.final.what }}
{%- elif members | length > 1 -%}
This bundle averages the probabilities of {{ members | length }} networks, one per test fold. Together they were \
trained on all of these images, so no {{ unit }} is left to test the average. The metrics are those of the \
individual networks, each on {{ unit }}s it had not seen.
{%- else -%}
This bundle is the network that was tested.
{%- endif %}

{% if positive is defined -%}
Positive class: `{{ positive }}`. Sensitivity, specificity, AUROC, average precision and the threshold refer to it.

{% endif -%}
{% if metrics.cross_validation is defined -%}
Cross-validation with all {{ metrics.cross_validation.folds | length }} networks, each on {{ unit }}s it had not seen: \
{{ metrics.cross_validation.n_images }} images of {{ metrics.cross_validation.n_patients }} {{ unit }}s.

| metric | value | from | to |
|-|-|-|-|
{% for metric, entry in metrics.cross_validation.metrics.items() -%}
| {{ metric | replace("_", " ") }} | {{ number(entry.value) }} | {{ ends(entry) }} |
{% endfor %}
Test fold {{ exported.test_folds | join(", ") }} alone: {{ metrics.n_images }} images of {{ metrics.n_patients }} \
{{ unit }}s.

{% endif -%}
| metric | value | from | to |
|-|-|-|-|
{% for metric, entry in metrics.test.items() if entry is mapping -%}
| {{ metric | replace("_", " ") }} | {{ number(entry.value) }} | {{ ends(entry) }} |
{% endfor %}
{%- if metrics.external_test is defined %}
External test images, never used for training or selection: {{ metrics.external_test.n_images }} images of \
{{ metrics.external_test.n_patients }} {{ unit }}s.

| metric | value | from | to |
|-|-|-|-|
{% for metric, entry in metrics.external_test.metrics.items() -%}
| {{ metric | replace("_", " ") }} | {{ number(entry.value) }} | {{ ends(entry) }} |
{% endfor %}
{%- endif %}
{% for baseline in metrics.baselines | default([]) %}
{%- if loop.first %}
Baselines are fitted on features of the frozen backbone. Differences are paired by {{ unit }}.

| baseline | metric | value | model minus baseline | from | to |
|-|-|-|-|-|-|
{% endif -%}
{% for name in headline if name in baseline.test -%}
{% set difference = baseline.difference[name] -%}
| {{ baseline.title }} | {{ name | replace("_", " ") }} | {{ number(baseline.test[name].value) }} | \
{{ number(difference.value) }} | {{ ends(difference) }} |
{% endfor -%}
{% endfor %}
{% if metrics.baseline_verdict is defined and metrics.baseline_verdict %}
**{{ metrics.baseline_verdict }}.**
{% endif %}
{{ text.calibration }}
{% if subgroups %}
### Subgroups
{{ subgroups }}
A gap is the difference between two subgroups with its interval over {{ unit }}s. With more than two subgroups
this interval holds for all pairs simultaneously. bundle.json has every metric and pair (`metrics.subgroups`).
{% endif %}
### Networks
| test fold | weights | selected on validation |
|-|-|-|
{% for member in members -%}
| {{ "none: trained on all images" if member.fold is none else member.fold }} | {{ member.stage }} | \
{{ describe_choices(member.choices) or "not stated" }} |
{% endfor %}
## Limits
- Measured on {{ data.name }} only. Performance with other scanners, stains, magnifications and populations is unknown.
{{ text.limits }}

## Weights
- Pretrained: {{ weights.backbone }}, {{ weights.source }}; license: {{ weights.licence }}.
- The network is derived from these weights and from the data. Check both licenses before use.

## Provenance
- key `{{ key }}`, seed {{ params.seed }}, git revision `{{ versions.git or "unknown" }}`\
{{ " with uncommitted changes" if versions.dirty }}
- python {{ versions.python }}{% for package, version in versions.packages.items() %}, {{ package }} {{ version }}\
{% endfor %}
- all params, metrics and SHA-256 checksums: `bundle.json`
"""


def render_card(document: dict[str, Any]) -> str:
    """Render the model card.

    Args:
        document: content of bundle.json.

    Returns:
        Markdown.

    Raises:
        jinja2.UndefinedError: a fact is missing. The message names it.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True)
    task = base.export(document["task"]["kind"])
    environment.globals.update(
        percent=_percent,
        number=_number,
        agrees=task.agrees,
        describe_choices=describe_choices,
        text=task.card(document),
    )
    return environment.from_string(TEMPLATE).render(
        **document,
        shown_counts=_most_frequent(document["data"]["counts"]),
        subgroups=_subgroups(document),
        headline=[metric.name for metric in base.metrics(document["task"]["kind"]) if metric.headline],
    )


def _subgroups(document: dict[str, Any]) -> str:
    metrics = base.metrics(document["task"]["kind"])
    return "\n".join(markdown_lines(document["metrics"].get("subgroups", []), metrics))


def _most_frequent(counts: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    names = list(counts)
    return {names[k]: counts[names[k]] for k in most_frequent(np.array([counts[name]["all"] for name in names]))}


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %".replace(".0 %", " %")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"

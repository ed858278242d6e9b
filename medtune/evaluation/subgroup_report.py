"""Section of report.html about subgroups."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from medtune.evaluation.metric import Metric
from medtune.evaluation.subgroup_tables import format_entry, format_gap, largest_gap, reasons

SECTION = """\
<h2>Subgroups</h2>
{% for document in documents %}<h3>{{ document.column }}</h3>
<div style="overflow-x: auto"><table>
<tr><th></th>{% for subgroup in document.subgroups %}<th>{{ subgroup.value }}</th>{% endfor %}
{% if document.largest_gaps %}<th>largest gap</th>{% endif %}</tr>
<tr><td>{{ images }}</td>{% for subgroup in document.subgroups %}<td>{{ subgroup.n_images }}</td>{% endfor %}</tr>
<tr><td>{{ unit }}</td>{% for subgroup in document.subgroups %}<td>{{ subgroup.n_patients }}</td>{% endfor %}</tr>
{% for label in classes[document.column] %}<tr><td>{{ unit }} with {{ label }}</td>
{% for subgroup in document.subgroups %}<td>{{ subgroup.patients_by_class[label]|default(0) }}</td>{% endfor %}</tr>
{% endfor %}{% for metric in metrics %}<tr><td>{{ metric.title }}{{ metric.positive_note(positive) }}</td>
{% for subgroup in document.subgroups %}<td>{{ subgroup.metrics[metric.name]|default(none)|entry }}</td>{% endfor %}
{% if document.largest_gaps %}<td>{{ largest(document, metric.name)|gap }}</td>{% endif %}</tr>
{% endfor %}</table></div>
{% if notes[document.column] %}<ul class="facts">{% for text in notes[document.column] %}<li>{{ text }}</li>
{% endfor %}</ul>{% endif %}
{% endfor %}<p class="facts">Each entry is a value with its {{ percent }} % interval over {{ unit }}. A gap is the
difference between two subgroups. Its interval comes from a jackknife over all {{ unit }}: {{ unit }} in both subgroups
are left out of both. With more than two subgroups, the interval of the largest gap holds for all pairs simultaneously.
subgroups.csv and metrics.json have every pair.</p>
<img alt="subgroups" src="data:image/png;base64,{{ plot }}">
"""
MAX_CLASSES = 10


def subgroup_section(
    documents: Sequence[Mapping[str, Any]], metrics: Sequence[Metric], facts: Mapping[str, Any], plot: Path
) -> str:
    """Render the section of report.html about subgroups.

    Args:
        documents: value of `subgroups` in metrics.json.
        metrics: metrics of the task.
        facts: result of `medtune.evaluation.facts.common_facts`.
        plot: PNG file of `medtune.evaluation.subgroup_plot`.

    Returns:
        HTML; an empty string if there are no subgroups.
    """
    if not documents:
        return ""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"entry": format_entry, "gap": format_gap}
    environment.globals |= {"largest": largest_gap}
    defined = {name for document in documents for subgroup in document["subgroups"] for name in subgroup["metrics"]}
    return environment.from_string(SECTION).render(
        documents=documents,
        metrics=[metric for metric in metrics if metric.name in defined],
        notes={document["column"]: reasons(document) for document in documents},
        classes={document["column"]: _classes(document) for document in documents},
        unit=unit_of(facts),
        images=facts.get("unit", "images"),
        percent=facts["percent"],
        positive=facts.get("positive"),
        plot=base64.b64encode(plot.read_bytes()).decode(),
    )


def unit_of(facts: Mapping[str, Any]) -> str:
    """Return the resampling unit of the intervals: patients, or images or slides if patients are unknown."""
    return "patients" if facts["patients_known"] else facts.get("unit", "images")


def _classes(document: Mapping[str, Any]) -> list[str]:
    """Return the classes whose patients the table counts; empty if there are too many for a table."""
    names = list(dict.fromkeys(name for subgroup in document["subgroups"] for name in subgroup["patients_by_class"]))
    return names if len(names) <= MAX_CLASSES else []

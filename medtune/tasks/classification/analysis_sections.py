"""Sections of report.html below the metrics: patients, sets, decision curve, more patients, doubtful labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from medtune.tasks.classification.metrics import METRICS

SECTIONS = """\
{% macro row(title, entry) %}<tr><td>{{ title }}</td><td class="n">{{ entry.value|number }}</td>
<td class="n">{{ entry|interval }}</td><td class="note">{{ entry.reason|default("", true) }}</td></tr>
{% endmacro %}{% macro head(first) %}<tr><th>{{ first }}</th><th class="n">value</th>
<th class="n">{{ percent }} % interval</th><th></th></tr>{% endmacro %}
<h2>Patients</h2>
{% if patients.reason is defined %}<p class="facts">No predictions of patients: {{ patients.reason }}.</p>
{% else %}<p class="facts">{{ patients.n_patients }} test patients, {{ patients.n_images }} {{ unit }}. The probability
of a patient is {{ scores[patients.score] }} (evaluate.patient_score={{ patients.score }}). patients.csv lists them.</p>
<table>{{ head("metric of patients") }}
{% for metric in metrics %}{{ row(metric.title + metric.positive_note(positive), patients.metrics[metric.name]) }}
{% endfor %}</table>{% endif %}

<h2>Prediction sets</h2>
{% if sets.reason is defined %}<p class="facts">No prediction sets: {{ sets.reason }}.</p>
{% else %}<p class="facts">A set holds every class that the calibration cannot rule out. It should contain the label
with a probability of {{ "%g"|format(100 * sets.requested_coverage) }} %, for
{{ "each class" if sets.calibration.holds_for == "each class" else "all classes together, not for each one" }}. A
prediction is uncertain if its set is not exactly the predicted class. Every {{ person }} counts equally here.</p>
<table>{{ head("") }}
{{ row("coverage (requested: %g)"|format(sets.requested_coverage), sets.coverage) }}
{% for name, entry in (sets.coverage_by_class.items() if classes|length <= 12 else ()) -%}
{{ row("coverage of " + name, entry) }}{% endfor %}
{{ row("classes in a set, mean", sets.set_size) }}{{ row("share of uncertain predictions", sets.uncertain) }}
{{ row("accuracy of the certain predictions", sets.accuracy_if_certain) }}</table>
<p class="facts">Certain: {{ sets.n_certain }} {{ unit }}. Uncertain: {{ sets.n_several }} with several classes,
{{ sets.n_empty }} with none, {{ sets.n_other }} with another class than the decision, whose threshold differs.
{% if folds %} Each fold's limits come from the validation predictions of all folds, without the patients that the fold
tests.{% endif %}</p>{% endif %}

{% if useful %}<h2>Decision curve</h2>
{% for name, range in useful.items() %}<p class="facts">{% if range %}Acting on the probability of {{ name }} has a
higher net benefit than acting on all {{ unit }} or on none for threshold probabilities from {{ range.0|number }} to
{{ range.1|number }}.{% else %}At no threshold probability has acting on the probability of {{ name }} a higher net
benefit than acting on all {{ unit }} or on none.{% endif %} This holds for the prevalence of these test {{ unit }}.</p>
{% endfor %}{% endif %}

<h2>What more patients would buy</h2>
{% if more.sentences %}<ul>{% for text in more.sentences %}<li>{{ text }}</li>{% endfor %}</ul>
{% else %}<p class="facts">No class has an interval of its recall.</p>{% endif %}
<p class="facts">{{ more.assumption }}</p>

<h2>Doubtful labels</h2>
<p class="facts">{{ errors.candidates }} of {{ errors.n_images }} {{ unit }} are candidates for label errors (confident
learning, from networks that were not trained on them). A pathologist should look at them: most may be difficult
{{ unit }} with a correct label. Nothing is corrected automatically. label_errors.csv has all of them.</p>
{% if doubtful %}<table>
<tr><th></th><th>file</th><th>patient</th><th>label</th><th>suggested</th></tr>
{% for one in doubtful %}<tr><td><img alt="" src="data:image/png;base64,{{ one.image }}"></td><td>{{ one.file }}</td>
<td>{{ one.patient }}</td><td>{{ one.label }} ({{ one.prob_label }})</td>
<td>{{ one.suggested }} ({{ one.prob_suggested }})</td></tr>
{% endfor %}</table>{% endif %}
"""
SCORES = {
    "mean": "the mean of the probabilities of its images",
    "max": "the highest probability of its images",
    "noisy_or": "1 - prod(1 - p) over its images",
}


def render_sections(facts: Mapping[str, Any], doubtful: Sequence[Mapping[str, Any]]) -> str:
    """Return the sections as HTML.

    Args:
        facts: of the evaluation, with those of `medtune.tasks.classification.analyses`.
        doubtful: from `medtune.tasks.classification.label_errors.thumbnails`.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"number": format_number, "interval": format_entry}
    patients = facts["patient_level"]
    return environment.from_string(SECTIONS).render(
        patients=patients,
        metrics=[metric for metric in METRICS if metric.name in patients.get("metrics", {})],
        sets=facts["prediction_sets"],
        errors=facts["label_errors"],
        useful=facts["decision_curve"]["useful_thresholds"],
        more=facts["more_patients"],
        doubtful=doubtful,
        scores=SCORES,
        positive=facts["positive"],
        classes=facts["classes"],
        folds=facts["folds"],
        percent=facts["percent"],
        unit=facts.get("unit", "images"),
        person="patient" if facts["groups_known"] else "image",
    )


def format_number(value: float | None) -> str:
    """Three decimals, or a dash for None."""
    return "–" if value is None else f"{value:.3f}"


def format_entry(entry: Mapping[str, Any]) -> str:
    """`0.712 to 0.846` of an interval, or a dash."""
    return "–" if entry["lo"] is None else f"{format_number(entry['lo'])} to {format_number(entry['hi'])}"

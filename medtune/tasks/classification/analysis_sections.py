"""Sections of report.html for the analyses: patients, prediction sets, decision curve, sample size, label errors."""

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from medtune.tasks.classification.metrics import METRICS

SECTIONS = """\
{% macro row(title, entry) %}<tr><td>{{ title }}</td><td class="n">{{ entry.value|number }}</td>
<td class="n">{{ entry|interval }}</td><td class="note">{{ entry.reason|default("", true) }}</td></tr>
{% endmacro %}{% macro head(first) %}<tr><th>{{ first }}</th><th class="n">value</th>
<th class="n">{{ percent }} % interval</th><th>note</th></tr>{% endmacro %}
<h2>Patients</h2>
{% if patients.reason is defined %}<p class="facts">No predictions of patients: {{ patients.reason }}.</p>
{% else %}<p class="facts">{{ patients.n_patients }} test patients, {{ patients.n_images }} {{ unit }}. The probability
of a patient is {{ scores[patients.score] }} (evaluate.patient_score={{ patients.score }}). patients.csv contains the
prediction of each patient.</p>
<table>{{ head("metric per patient") }}
{% for metric in metrics %}{{ row(metric.title + metric.positive_note(positive), patients.metrics[metric.name]) }}
{% endfor %}</table>{% endif %}

<h2>Prediction sets</h2>
{% if sets.reason is defined %}<p class="facts">No prediction sets: {{ sets.reason }}.</p>
{% else %}<p class="facts">A prediction set contains every class that the calibration cannot rule out. The requested
coverage is {{ "%g"|format(100 * sets.requested_coverage) }} %: the set should contain the label with this probability,
{{ "for each class" if sets.calibration.holds_for == "each class" else "averaged over all classes" }}. A prediction is
uncertain if its set is not exactly the predicted class. Every {{ person }} has equal weight here.</p>
<table>{{ head("") }}
{{ row("coverage (requested: %g)"|format(sets.requested_coverage), sets.coverage) }}
{% for name, entry in (sets.coverage_by_class.items() if classes|length <= 12 else ()) -%}
{{ row("coverage of " + name, entry) }}{% endfor %}
{{ row("mean number of classes per set", sets.set_size) }}{{ row("fraction of uncertain predictions", sets.uncertain) }}
{{ row("accuracy of the certain predictions", sets.accuracy_if_certain) }}</table>
<p class="facts">Certain: {{ sets.n_certain }} {{ unit }}. Uncertain: {{ sets.n_several }} {{ unit }} with several
classes in the set, {{ sets.n_empty }} with an empty set, and {{ sets.n_other }} with a class that differs from the
decision, because the decision uses another threshold.{% if folds %} The limits of each fold are calibrated on the
validation predictions of all folds, without the fold's test patients.{% endif %}</p>{% endif %}

{% if useful %}<h2>Decision curve</h2>
{% for name, range in useful.items() %}<p class="facts">{% if range %}For threshold probabilities from
{{ range.0|number }} to {{ range.1|number }}, decisions by the probability of {{ name }} have a higher net benefit than
treating all {{ unit }} or none.{% else %}At no threshold probability do decisions by the probability of {{ name }} have
a higher net benefit than treating all {{ unit }} or none.{% endif %} This result depends on the prevalence in the test
{{ unit }}.</p>
{% endfor %}{% endif %}

<h2>Effect of more patients</h2>
{% if more.sentences %}<ul>{% for text in more.sentences %}<li>{{ text }}</li>{% endfor %}</ul>
{% else %}<p class="facts">No class has a confidence interval of its recall.</p>{% endif %}
<p class="facts">{{ more.assumption }}</p>

<h2>Doubtful labels</h2>
<p class="facts">{{ errors.candidates }} of {{ errors.n_images }} {{ unit }} are candidates for label errors. They were
found by confident learning, with networks that were not trained on them. A pathologist should review them. Most of them
may be difficult {{ unit }} with a correct label. Nothing is corrected automatically. label_errors.csv contains all
candidates.</p>
{% if doubtful %}<table>
<tr><th></th><th>file</th><th>patient</th><th>label</th><th>suggested</th></tr>
{% for row in doubtful %}<tr><td><img alt="" src="data:image/png;base64,{{ row.image }}"></td><td>{{ row.file }}</td>
<td>{{ row.patient }}</td><td>{{ row.label }} ({{ row.prob_label }})</td>
<td>{{ row.suggested }} ({{ row.prob_suggested }})</td></tr>
{% endfor %}</table>{% endif %}
"""
SCORES = {
    "mean": "the mean probability of the patient's images",
    "max": "the highest probability of the patient's images",
    "noisy_or": "1 - prod(1 - p) over the patient's images",
}


def render_sections(facts: Mapping[str, Any], doubtful: Sequence[Mapping[str, Any]]) -> str:
    """Render the sections.

    Args:
        facts: facts of the evaluation, including those of `medtune.tasks.classification.analyses`.
        doubtful: rows of `medtune.tasks.classification.label_errors.thumbnails`.

    Returns:
        HTML.
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
        person="patient" if facts["patients_known"] else "image",
    )


def format_number(value: float | None) -> str:
    """Format a value with three decimals; None becomes a dash."""
    return "–" if value is None else f"{value:.3f}"


def format_entry(entry: Mapping[str, Any]) -> str:
    """Format an interval as `0.712 to 0.846`; a missing interval becomes a dash."""
    return "–" if entry["lo"] is None else f"{format_number(entry['lo'])} to {format_number(entry['hi'])}"

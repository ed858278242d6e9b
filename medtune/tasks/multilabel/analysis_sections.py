"""Sections of report.html for the analyses: patients and label errors."""

from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from medtune.tasks.classification.analysis_sections import SCORES, format_entry, format_number
from medtune.tasks.multilabel.metrics import METRICS

SECTIONS = """\
<h2>Patients</h2>
{% if patients.reason is defined %}<p class="facts">No predictions of patients: {{ patients.reason }}.</p>
{% else %}<p class="facts">{{ patients.n_patients }} test patients, {{ patients.n_images }} images. A patient shows a
finding if at least one image shows it. The probability of a patient is {{ scores[patients.score] }}
(evaluate.patient_score={{ patients.score }}). patients.csv contains the prediction of each patient.</p>
<table><tr><th>metric per patient</th><th class="n">value</th><th class="n">{{ percent }} % interval</th><th>note</th>
</tr>
{% for metric in metrics %}{% set entry = patients.metrics[metric.name] %}<tr><td>{{ metric.title }}</td>
<td class="n">{{ entry.value|number }}</td><td class="n">{{ entry|interval }}</td>
<td class="note">{{ entry.reason|default("", true) }}</td></tr>
{% endfor %}</table>{% endif %}

<h2>Doubtful labels</h2>
<p class="facts">{{ errors.candidates }} labels of {{ errors.n_images }} images are candidates for label errors. They
were found by confident learning per finding, with networks that were not trained on the images. A specialist should
review them. Most of them may be difficult images with a correct label. Nothing is corrected automatically.
label_errors.csv contains all candidates.</p>
{% if doubtful %}<table>
<tr><th></th><th>file</th><th>patient</th><th>label</th><th>suggested</th><th class="n">probability</th></tr>
{% for row in doubtful %}<tr><td><img alt="" src="data:image/png;base64,{{ row.image }}"></td><td>{{ row.file }}</td>
<td>{{ row.patient }}</td><td>{{ row.label }}</td><td>{{ row.suggested }}</td>
<td class="n">{{ row.probability }}</td></tr>
{% endfor %}</table>{% endif %}
"""


def render_sections(facts: Mapping[str, Any], doubtful: Sequence[Mapping[str, Any]]) -> str:
    """Render the sections.

    Args:
        facts: facts of the evaluation, including `patient_level` and `label_errors`.
        doubtful: rows of `medtune.tasks.multilabel.label_errors.shown_entries`.

    Returns:
        HTML.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"number": format_number, "interval": format_entry}
    patients = facts["patient_level"]
    return environment.from_string(SECTIONS).render(
        patients=patients,
        metrics=[metric for metric in METRICS if metric.name in patients.get("metrics", {})],
        errors=facts["label_errors"],
        doubtful=doubtful,
        scores=SCORES,
        percent=facts["percent"],
    )

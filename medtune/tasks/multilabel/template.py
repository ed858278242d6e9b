"""Jinja2 template of report.html, stored in Python code so that a change invalidates the cache key."""

from medtune.tasks.classification.template import CSS

PAGE = (
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ name }}: evaluation</title>
<style>
"""
    + CSS
    + """</style>
</head>
<body>
<h1>{{ name }}: evaluation {{ "of a bundle on external images" if external else "on test images" }}</h1>
<p class="facts">{{ n_images }} images of {{ n_patients }} patients{{ '' if patients_known
else ' (no patient ids: each image counts as one patient)' }}, {% if external %}external
data. Bundle <b>{{ external.bundle }}</b>, {{ external.precision }} in onnxruntime, with the bundle's thresholds:
{{ external.rule }}{% else %}split protocol <b>{{ protocol }}</b>,
{{ folds|length }} fold{{ "s" if folds|length > 1 }}{% endif %}. Model <b>{{ backbone }}</b>, head {{ head }},
selected stage: {{ stage }}. {{ classes|length }} finding{{ "s" if classes|length > 1 }}: {{ classes|names }}. An image
may show several findings or none.</p>
{% if final is defined %}<p class="facts">{{ final.what }}</p>
{% endif %}{% for warning in warnings %}<p class="warning">{{ warning }}</p>
{% endfor %}
{{ headline }}<h2>{{ "Test fold %s" % folds[0].fold if headline else "Metrics" }}</h2>
<table>
<tr><th>metric</th><th class="n">value</th><th class="n">{{ percent }} % interval</th><th>note</th></tr>
{% for row in metrics %}<tr><td>{{ row.title }}</td><td class="n">{{ row.value }}</td>
<td class="n">{{ row.interval }}</td><td class="note">{{ row.note }}</td></tr>
{% endfor %}<tr><td>baseline: the prevalence as probability</td><td class="n"></td><td class="n"></td>
<td class="note">macro AUROC {{ baseline.auroc|number }},
macro average precision {{ baseline.average_precision|number }},
macro balanced accuracy {{ baseline.balanced_accuracy|number }}</td></tr>
</table>
<p class="facts">The confidence intervals are jackknife intervals with Student's t. Each
{{ 'patient' if patients_known else 'image' }} is left out once. The intervals describe the variation between samples of
{{ 'patients' if patients_known else 'images' }}. They do not include the variation between training runs.
{% if fold_means %}Each fold is scored by a different network, and their probabilities may not be comparable. The mean
over folds does not mix them. {% endif %}Macro averages include the findings that some test images show and others do
not. Perfect calibration has a slope of 1, an intercept of 0 and a confidence equal to the accuracy. Slope and intercept
are computed over all these findings together.</p>

<h2>Findings</h2>
<table>
<tr><th>finding</th><th class="n">images</th><th class="n">patients</th><th class="n">prevalence</th>
<th class="n">threshold</th>{% for title in titles %}<th class="n">{{ title }}</th>{% endfor %}<th>note</th></tr>
{% for row in rows %}<tr><td>{{ row["class"] }}</td><td class="n">{{ row.positives }}</td>
<td class="n">{{ row.patients }}</td><td class="n">{{ row.prevalence|number }}</td>
<td class="n">{{ thresholds.get(row["class"])|number }}</td>
{% for value, interval in row["values"] %}<td class="n">{{ value }}<br><small>{{ interval }}</small></td>
{% endfor %}<td class="note">{{ row.reason or "" }}</td></tr>
{% endfor %}</table>
<p class="facts">The columns images and patients count those with the finding. A random ranking has an AUROC of 0.5, and
its average precision is the prevalence. {% if folds %}The thresholds are those of the exported model, chosen on the
validation patients of all folds.{% endif %}
{% if rows|length < classes|length %}The table shows the first {{ rows|length }} of {{ classes|length }} findings.
metrics.json contains all findings.{% endif %}</p>
{% if threshold_reasons %}<ul>{% for finding, reason in threshold_reasons.items() %}<li>{{ finding }}: {{ reason }}</li>
{% endfor %}</ul>{% endif %}{{ section }}
{% if folds %}<h2>Folds</h2>
<table>
<tr><th>test fold</th><th>selected stage</th><th>chosen on validation</th><th class="n">validation macro AUROC</th>
<th class="n">test images</th><th class="n">patients</th>
{% for metric in each_epoch %}<th class="n">{{ metric.title }}</th>{% endfor %}</tr>
{% for row in folds %}<tr><td>{{ row.fold }}</td><td>{{ row.kept }}</td>
<td>{{ row.choices|choices }}</td>
<td class="n">{{ row.validation.auroc|number }}</td>
<td class="n">{{ row.n_images }}</td><td class="n">{{ row.n_patients }}</td>
{% for metric in each_epoch %}<td class="n">{{ row.test[metric.name]|number }}</td>
{% endfor %}</tr>
{% endfor %}</table>
<p class="facts">The calibration and the thresholds of a fold are chosen on the validation images of all folds, without
the fold's test patients.</p>{% endif %}

<h2>Plots</h2>
{% for image in images %}<img alt="{{ image.name }}" src="data:image/png;base64,{{ image.data }}">
{% endfor %}
{% if notes %}<h2>Known issues of the data</h2>
<ul>{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}
<footer>{{ citation }}{% if licence %} License of the images: {{ licence }}.{% endif %}<br>
key {{ key }}, data {{ data_digest }}<br>
result.json contains the params, the package versions and the git revision.</footer>
</body>
</html>
"""
)

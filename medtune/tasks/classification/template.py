"""Jinja2 template of report.html, stored in Python code so that a change invalidates the cache key."""

CSS = """\
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0.2rem; }
h2 { font-size: 1.1rem; margin-top: 2rem; }
.facts { color: #444; }
.warning { background: #fff4e5; border-left: 4px solid #d55e00; padding: 0.5rem 0.9rem; margin: 0.6rem 0; }
table { border-collapse: collapse; margin: 0.6rem 0; }
th, td { padding: 0.25rem 0.8rem 0.25rem 0; text-align: left; border-bottom: 1px solid #ddd; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.note { color: #666; font-size: 0.85rem; }
img { max-width: 100%; margin: 0.5rem 0.5rem 0.5rem 0; }
footer { color: #666; font-size: 0.8rem; margin-top: 2rem; overflow-wrap: anywhere; }
"""

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
<p class="facts">{{ n_images }} {{ unit | default('images') }} of {{ n_patients }} patients{{ '' if patients_known
else ' (no patient ids: each image counts as one patient)' }}, {% if external %}external
data. Bundle <b>{{ external.bundle }}</b>, {{ external.precision }} in onnxruntime, with the bundle's decision rule:
{{ external.rule }}{% else %}split protocol <b>{{ protocol }}</b>,
{{ folds|length }} fold{{ "s" if folds|length > 1 }}{% endif %}. Model <b>{{ backbone }}</b>, head {{ head }},
selected stage: {{ stage }}. Classes: {{ classes|names }}.{% if positive %} Positive class:
<b>{{ positive }}</b>.{% endif %}</p>
{% if final is defined %}<p class="facts">{{ final.what }}</p>
{% endif %}{% for warning in warnings %}<p class="warning">{{ warning }}</p>
{% endfor %}
{{ headline }}<h2>{{ "Test fold %s" % folds[0].fold if headline else "Metrics" }}</h2>
<table>
<tr><th>metric</th><th class="n">value</th><th class="n">{{ percent }} % interval</th><th>note</th></tr>
{% for row in metrics %}<tr><td>{{ row.title }}</td><td class="n">{{ row.value }}</td>
<td class="n">{{ row.interval }}</td><td class="note">{{ row.note }}</td></tr>
{% endfor %}</table>
<p class="facts">The confidence intervals are jackknife intervals with Student's t. Each
{{ 'patient' if patients_known else (unit | default('images'))[:-1] }} is left out once. The intervals describe the
variation between samples of {{ 'patients' if patients_known else unit | default('images') }}. They do not include the
variation between training runs. Averages over classes include only classes with test images. AUROC is
{{ "computed for " + positive if positive else "one-vs-rest, averaged over classes" }}.{% if fold_means %} Each fold is
scored by a different network, and their probabilities may not be comparable. The mean over folds does not mix
them.{% endif %} Perfect calibration has a slope of 1, an intercept of 0 and a confidence equal to the accuracy. Slope
and intercept refer to {{ "the probability of " + positive if positive else "the most probable class" }}. Confidence
always refers to the most probable class.</p>

<h2>Classes</h2>
<table>
<tr><th>class</th><th class="n">{{ unit | default("images") }}</th><th class="n">patients</th><th class="n">recall</th>
<th class="n">precision</th><th class="n">F1</th><th>note</th></tr>
{% for row in per_class %}<tr><td>{{ row["class"] }}</td><td class="n">{{ row.support }}</td>
<td class="n">{{ row.patients }}</td>
{% for name in ("recall", "precision", "f1") %}<td class="n">{{ row[name]|number }}<br>
<small>{{ row[name + "_interval"] }}</small></td>{% endfor %}<td class="note">{{ row.reason or "" }}</td></tr>
{% endfor %}</table>
{% if per_class|length < classes|length %}<p class="facts">The table shows the {{ per_class|length }} of
{{ classes|length }} classes with the most errors. metrics.json contains all classes.</p>
{% endif %}{{ section }}
{% if folds %}<h2>Folds</h2>
<table>
<tr><th>test fold</th><th>selected stage</th><th>chosen on validation</th><th class="n">temperature</th>
<th>decision</th><th class="n">validation AUROC</th>
<th class="n">test {{ unit | default("images") }}</th><th class="n">patients</th>
{% for metric in each_epoch %}<th class="n">{{ metric.title }}</th>{% endfor %}</tr>
{% for row in folds %}<tr><td>{{ row.fold }}{{ ": " + row.site if row.site is defined }}</td><td>{{ row.kept }}</td>
<td>{{ row.choices|choices }}</td>
<td class="n">{{ row.temperature|number }}</td><td>{{ row.decision|rule }}</td>
<td class="n">{{ row.validation.auroc|number }}</td>
<td class="n">{{ row.n_images }}</td><td class="n">{{ row.n_patients }}</td>
{% for metric in each_epoch %}<td class="n">{{ row.test[metric.name]|number }}</td>
{% endfor %}</tr>
{% endfor %}</table>
<p class="facts">The temperature and the decision rule of a fold are chosen on the validation images of all folds,
without the fold's test patients. Decision rule of the exported model: {{ decision|rule }}
{%- if decision.why is defined %} ({{ decision.why }}){% endif %}.</p>{% endif %}

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

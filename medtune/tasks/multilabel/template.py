"""The page of report.html (Jinja2). A Python string, so that the cache key sees a change of it."""

from medtune.tasks.classification.template import LOOK

PAGE = (
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ name }}: evaluation</title>
<style>
"""
    + LOOK
    + """</style>
</head>
<body>
<h1>{{ name }}: evaluation {{ "of a bundle on external images" if external else "on test images" }}</h1>
<p class="facts">{{ n_images }} images of {{ n_groups }} patients{{ '' if groups_known
else ' (no patient ids: each image counts as one)' }}, {% if external %}external
data; bundle <b>{{ external.bundle }}</b>, {{ external.precision }} through onnxruntime, its own thresholds:
{{ external.rule }}{% else %}protocol <b>{{ protocol }}</b>,
{{ folds|length }} fold{{ "s" if folds|length > 1 }}{% endif %}; model <b>{{ backbone }}</b>, head {{ head }},
weights kept: {{ stage }}; {{ classes|length }} finding{{ "s" if classes|length > 1 }}, any number of them in an image:
{{ classes|names }}.</p>
{% if final is defined %}<p class="facts">{{ final.what }}</p>
{% endif %}{% for warning in warnings %}<p class="warning">{{ warning }}</p>
{% endfor %}
{{ headline }}<h2>{{ "Test fold %s" % folds[0].fold if headline else "Metrics" }}</h2>
<table>
<tr><th>metric</th><th class="n">value</th><th class="n">{{ percent }} % interval</th><th></th></tr>
{% for row in metrics %}<tr><td>{{ row.title }}</td><td class="n">{{ row.value }}</td>
<td class="n">{{ row.interval }}</td><td class="note">{{ row.note }}</td></tr>
{% endfor %}<tr><td>baseline: prevalence as probability</td><td class="n"></td><td class="n"></td>
<td class="note">macro AUROC {{ baseline.auroc|number }},
macro average precision {{ baseline.average_precision|number }},
macro balanced accuracy {{ baseline.balanced_accuracy|number }}</td></tr>
</table>
<p class="facts">Intervals: leaving out each {{ 'patient' if groups_known else 'image' }} in turn (jackknife, Student's
t). They hold the trained networks fixed: they say how far other {{ 'patients' if groups_known else 'images' }} would
move a value, not another training run. {% if fold_means %}Folds are scored by different networks, whose probabilities
need not be comparable: the mean over folds does not mix them. {% endif %}Macro: the mean over the findings that some
test images show and others do not. A calibration slope of 1, an intercept of 0 and a confidence equal to the accuracy
are perfect; slope and intercept are of all these findings together.</p>

<h2>Findings</h2>
<table>
<tr><th>finding</th><th class="n">images</th><th class="n">patients</th><th class="n">prevalence</th>
<th class="n">threshold</th>{% for title in titles %}<th class="n">{{ title }}</th>{% endfor %}<th></th></tr>
{% for row in rows %}<tr><td>{{ row["class"] }}</td><td class="n">{{ row.positives }}</td>
<td class="n">{{ row.patients }}</td><td class="n">{{ row.prevalence|number }}</td>
<td class="n">{{ thresholds.get(row["class"])|number }}</td>
{% for value, interval in row["values"] %}<td class="n">{{ value }}<br><small>{{ interval }}</small></td>
{% endfor %}<td class="note">{{ row.reason or "" }}</td></tr>
{% endfor %}</table>
<p class="facts">Images and patients: those that show the finding. A random ranking has AUROC 0.5 and the prevalence as
average precision. {% if folds %}Thresholds are those of the exported model, chosen on the
validation patients of all folds.{% endif %}
{% if rows|length < classes|length %}The first {{ rows|length }} of {{ classes|length }} findings; metrics.json has all.
{% endif %}</p>
{% if threshold_reasons %}<ul>{% for finding, reason in threshold_reasons.items() %}<li>{{ finding }}: {{ reason }}</li>
{% endfor %}</ul>{% endif %}{{ section }}
{% if folds %}<h2>Folds</h2>
<table>
<tr><th>test fold</th><th>weights</th><th>chosen on validation</th><th class="n">validation macro AUROC</th>
<th class="n">test images</th><th class="n">patients</th>
{% for metric in each_epoch %}<th class="n">{{ metric.title }}</th>{% endfor %}</tr>
{% for row in folds %}<tr><td>{{ row.fold }}</td><td>{{ row.kept }}</td>
<td>{{ row.choices|choices }}</td>
<td class="n">{{ row.validation.auroc|number }}</td>
<td class="n">{{ row.n_images }}</td><td class="n">{{ row.n_groups }}</td>
{% for metric in each_epoch %}<td class="n">{{ row.test[metric.name]|number }}</td>
{% endfor %}</tr>
{% endfor %}</table>
<p class="facts">The calibration and the thresholds of a fold are chosen on the validation images of all folds, without
its test patients.</p>{% endif %}

<h2>Plots</h2>
{% for image in images %}<img alt="{{ image.name }}" src="data:image/png;base64,{{ image.data }}">
{% endfor %}
{% if notes %}<h2>Known of the data</h2>
<ul>{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}
<footer>{{ citation }}{% if licence %} Licence of the images: {{ licence }}.{% endif %}<br>
key {{ key }}, data {{ data_digest }}<br>
Params, versions and the git revision are in result.json.</footer>
</body>
</html>
"""
)

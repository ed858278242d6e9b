"""Jinja2 template of the benchmark report, in the style of the evaluation report."""

from medtune.tasks.classification.template import CSS

PAGE = (
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Benchmark of PEFT methods</title>
<style>
"""
    + CSS
    + """body { max-width: 80rem; }
h2 { border-top: 2px solid #1a1a1a; padding-top: 0.6rem; margin-top: 3rem; }
h3 { font-size: 1rem; margin-top: 1.8rem; }
.wide { overflow-x: auto; }
table { font-size: 0.85rem; }
th, td { vertical-align: top; }
td small { color: #555; display: block; white-space: nowrap; }
tr.baseline td:nth-child(-n+2) { font-weight: 600; }
.tag { background: #1a1a1a; color: #fff; border-radius: 3px; padding: 0 0.35em; font-size: 0.7rem; font-weight: 400; }
td.best { background: #0072b2; color: #fff; }
td.best small { color: #fff; }
td.tied { background: #d3e8f6; }
li { margin: 0.4rem 0; }
</style>
</head>
<body>
<h1>Benchmark of PEFT methods</h1>
<p class="facts">{{ grid }}</p>
<p class="facts">{{ status }}{{ ' ' + selection if selection else '' }}</p>
{% if compared %}<p class="facts">The metric is <b>{{ metric }}</b>{{ ' (lower is better)' if lower }}
of the test images, averaged over seeds. The {{ percent }} % intervals come from leaving out test {{ units }} in turn
(jackknife, Student's t). They describe the variation between samples of {{ units }}, not between training seeds.
The same {{ units }} are left out of all methods and seeds of a dataset, so differences are paired.
A difference is <b>significant</b> if its two-sided p-value is below {{ alpha }} after Holm's correction. The correction
covers all methods that are compared with the same method on the same dataset, backbone and percentage of the data.
The same results select the best method, so with many equal methods the rate of false differences from it is above
{{ alpha }}. The rate holds for full fine-tuning, which is fixed in advance. A difference that is not significant does
not mean that methods are equal.</p>
{% endif %}
<h3>Recommendations</h3>
<ul>
{% for line in lines %}{% set subject, colon, text = line.partition(": ") -%}
<li><b>{{ subject }}</b>{{ colon }}{{ text }}</li>
{% endfor %}</ul>
{% for block in blocks %}
<h2>{{ block.data }}, {{ block.backbone }}</h2>
{% if block.empty %}<p>No trial has a value of {{ metric }}.</p>
{% else %}<p class="facts">{{ block.facts }}</p>
{% for limit in block.limits %}<p class="warning">{{ limit }}</p>
{% endfor %}
<h3>Methods</h3>
<p class="facts">The table is sorted by mean rank. <b>★</b> (dark) marks the best mean. <b>≈</b> (light) marks methods
without a significant difference from it. Each cell has the mean, its interval, the rank, the selected learning rate,
and the range over seeds. Trainable counts the parameters of the backbone without the head.</p>
<div class="wide"><table>
<tr><th class="n">#</th><th>method</th><th class="n">mean rank</th><th class="n">trainable</th>
<th class="n">fraction</th>
{% for percent in block.percents %}<th class="n">{{ percent }} %</th>{% endfor %}</tr>
{% for row in block.rows %}<tr{{ ' class="baseline"'|safe if row.baseline }}><td class="n">{{ row.number }}</td>
<td>{{ row.method }}{% if row.baseline %} <span class="tag">baseline</span>{% endif %}</td>
<td class="n">{{ row.rank }}</td><td class="n">{{ row.trainable }}</td><td class="n">{{ row.share }}</td>
{% for cell in row.cells %}{% if cell.mark == "none" %}<td class="n">–</td>
{% else %}<td class="n {{ cell.mark }}">{{ {"best": "★ ", "tied": "≈ "}.get(cell.mark, "") }}{{ cell.mean }}
{% if cell.interval %}<small>{{ cell.interval }}</small>{% endif %}
<small>rank {{ cell.rank }}, lr {{ cell.lr }}</small>
{% if cell.spread %}<small>seeds differ by {{ cell.spread }}</small>{% endif %}
{% if cell.seeds %}<small>{{ cell.seeds }}</small>{% endif %}</td>
{% endif %}{% endfor %}</tr>
{% endfor %}</table></div>
<h3>Metric and trainable parameters</h3>
<img alt="metric against trainable parameters" src="data:image/png;base64,{{ block.trade }}">
<h3>Metric and percentage of the training {{ block.unit }}s</h3>
<img alt="metric against training data" src="data:image/png;base64,{{ block.fractions }}">
<h3>Every method against the best</h3>
{% for forest in block.forests %}<img alt="differences from the best" src="data:image/png;base64,{{ forest }}">
{% else %}<p>Only one method has results.</p>
{% endfor %}
{% if block.full %}<h3>Every method against full fine-tuning</h3>
<p class="facts">Each cell has the difference method − full, its {{ percent }} % interval and the p-value after Holm's
correction. ▲ and ▼ mark significant differences. Detectable is the difference that a test set of this size detects
with a power of 80 %. Four times as many {{ block.unit }}s detect half of it.</p>
<div class="wide"><table>
<tr><th>method</th>{% for percent in block.percents %}<th class="n">{{ percent }} %</th>{% endfor %}</tr>
{% for row in block.full %}<tr><td>{{ row.method }}
{% if row.baseline %}<span class="tag">baseline</span>{% endif %}</td>
{% for cell in row.cells %}<td class="n">{% if cell %}{% if cell.mark %}<b>{{ cell.mark }} {{ cell.difference }}</b>
{% else %}{{ cell.difference }}{% endif %}<small>{{ cell.interval }}{{ ", " if cell.interval }}p {{ cell.p }}</small>
{% if cell.detectable %}<small>detectable {{ cell.detectable }}</small>{% endif %}
{% else %}–{% endif %}</td>{% endfor %}</tr>
{% endfor %}</table></div>{% endif %}
<h3>Time and memory</h3>
<img alt="training time and peak memory" src="data:image/png;base64,{{ block.costs }}">
{% endif %}{% endfor %}
{% if failed %}<h2>Failed trials</h2>
<table>
<tr><th>trial</th><th>error</th></tr>
{% for trial in failed %}<tr><td>{{ trial.identity.name }}</td><td>{{ trial.error }}</td></tr>
{% endfor %}</table>{% endif %}
<footer>{{ versions }}<br>results.csv has one row per trial.</footer>
</body>
</html>
"""
)

"""The page that compares the trials of a benchmark (Jinja2), in the look of the evaluation's report."""

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
td.level { background: #d3e8f6; }
li { margin: 0.4rem 0; }
</style>
</head>
<body>
<h1>Benchmark of PEFT methods</h1>
<p class="facts">{{ grid }}</p>
<p class="facts">{{ status }}{{ ' ' + chosen if chosen else '' }}</p>
{% if judged %}<p class="facts">Figure compared: <b>{{ metric }}</b>{{ ' (lower is better)' if lower }}
of the test images, mean over seeds. Intervals: {{ percent }} %, from leaving out test {{ units }} in turn
(jackknife, Student's t), the same ones for every method and seed of a data set. They tell how far
other {{ units }} would move the mean of these trained networks, not how far other training seeds would. Differences
are paired: both methods without the same {{ units }}. A method <b>separates</b> from another where the two-sided
p-value of the difference is below {{ alpha }} after Holm's correction over all methods compared with that one on
the same data set, backbone and share of the data. The best method is picked from the same figures: of many equal
methods, some separate from it in more than {{ alpha }} of cases. For full fine-tuning, which is not picked, that
rate holds. Not separating does not mean equal.</p>
{% endif %}
<h3>Recommendations</h3>
<ul>
{% for line in lines %}{% set where, colon, said = line.partition(": ") -%}
<li><b>{{ where }}</b>{{ colon }}{{ said }}</li>
{% endfor %}</ul>
{% for block in blocks %}
<h2>{{ block.data }}, {{ block.backbone }}</h2>
{% if block.empty %}<p>No trial has a figure of {{ metric }}.</p>
{% else %}<p class="facts">{{ block.facts }}</p>
{% for limit in block.limits %}<p class="warning">{{ limit }}</p>
{% endfor %}
<h3>Methods</h3>
<p class="facts">Sorted by mean rank. <b>★</b> (dark): best mean; <b>≈</b> (light): does not separate from the best.
Under the mean: its interval; rank, learning rate chosen; lowest to highest seed.
Trainable: parameters of the backbone, head not counted.</p>
<div class="wide"><table>
<tr><th class="n">#</th><th>method</th><th class="n">mean rank</th><th class="n">trainable</th><th class="n">share</th>
{% for percent in block.percents %}<th class="n">{{ percent }} %</th>{% endfor %}</tr>
{% for row in block.rows %}<tr{{ ' class="baseline"'|safe if row.baseline }}><td class="n">{{ row.number }}</td>
<td>{{ row.method }}{% if row.baseline %} <span class="tag">baseline</span>{% endif %}</td>
<td class="n">{{ row.rank }}</td><td class="n">{{ row.trainable }}</td><td class="n">{{ row.share }}</td>
{% for cell in row.cells %}{% if cell.mark == "none" %}<td class="n">–</td>
{% else %}<td class="n {{ cell.mark }}">{{ {"best": "★ ", "level": "≈ "}.get(cell.mark, "") }}{{ cell.mean }}
{% if cell.interval %}<small>{{ cell.interval }}</small>{% endif %}
<small>rank {{ cell.rank }}, lr {{ cell.lr }}</small>
{% if cell.spread %}<small>seeds differ by {{ cell.spread }}</small>{% endif %}
{% if cell.seeds %}<small>{{ cell.seeds }}</small>{% endif %}</td>
{% endif %}{% endfor %}</tr>
{% endfor %}</table></div>
<h3>Against trainable parameters</h3>
<img alt="metric against trainable parameters" src="data:image/png;base64,{{ block.trade }}">
<h3>Against the share of the training {{ block.unit }}s</h3>
<img alt="metric against training data" src="data:image/png;base64,{{ block.fractions }}">
<h3>Every method against the best</h3>
{% for forest in block.forests %}<img alt="differences from the best" src="data:image/png;base64,{{ forest }}">
{% else %}<p>Only one method has figures.</p>
{% endfor %}
{% if block.full %}<h3>Every method against full fine-tuning</h3>
<p class="facts">Method − full, {{ percent }} % interval, p after Holm. ▲, ▼: separates from it.
Detectable: the difference that a test set of this size shows in four of five cases. A set of four times as many
{{ block.unit }}s shows half of it.</p>
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
<footer>{{ versions }}<br>results.csv has a row for every trial.</footer>
</body>
</html>
"""
)

"""Logistic-regression baselines on frozen features, compared with the model on the same test images.

A model that is not better than twenty lines of scikit-learn on the features of the same backbone is not worth its
training. Each fold's baseline is fitted on all images that are not test images: the fold's training and validation
images, since it needs no validation. Its decision is the most probable class.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import jinja2
import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.evaluation.facts import fold_means
from medtune.evaluation.intervals import Interval, intervals, paired_interval
from medtune.evaluation.metric import Metric
from medtune.evaluation.outputs import OutputsRequest
from medtune.evaluation.result import Predictions
from medtune.runtime.progress import progress

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

TITLES = {
    "class_token": "logistic regression on the class token",
    "mean_feature": "logistic regression on the mean feature",
}


class Baseline(Protocol):
    """A model that is fitted in seconds on features of the frozen backbone."""

    def fit_and_predict(
        self, features: npt.NDArray, targets: npt.NDArray, test: npt.NDArray, n_outputs: int
    ) -> npt.NDArray:
        """Fit on `features` (n, D) and `targets` (n, ...); return a bundle's outputs (m, ...) for `test` (m, D)."""

    def document(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """The fields of bundle.json that `medtune.tasks.base.Evaluation.from_bundle` reads of its decision rule."""


class Features(Protocol):
    """Features of images by a frozen backbone."""

    names: tuple[str, ...]

    def fetch(self, name: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """(n, C) features `name` of the images `rows` (n,)."""


def rows_needed(prepared: "PreparedDataset", requests: Iterable[OutputsRequest]) -> npt.NDArray[np.int64]:
    """Rows of all images that the baselines of some folds are fitted on or predict."""
    rows = [split for one in requests for name, split in prepared.indices(one.fold).items() if name != "external"]
    return np.unique(np.concatenate(rows))


def evaluate_baselines(
    task: Any,
    fitting: Baseline,
    prepared: "PreparedDataset",
    requests: Sequence[OutputsRequest],
    model: Predictions,
    features: Features,
    metrics: Sequence[Metric],
    options: EvaluateParams,
) -> list[dict[str, Any]]:
    """Fit the baselines of all folds and compare them with the model.

    Args:
        task: the task's evaluation (`medtune.tasks.base.Evaluation`).
        fitting: the task's baseline.
        prepared: the data; tiles where the images are slides.
        requests: one per fold.
        model: predictions of the model for the test images of all folds, in the order of `requests`.
        features: of all `rows_needed`.
        metrics: of the task.
        options: section evaluate.

    Returns:
        For each baseline `{name, title, test, fold_means, difference}`: its metrics by name, their means over folds,
        and the model's less the baseline's, paired by patient. Metrics and differences are as `Interval.as_dict` gives
        them.
    """
    compared, own = [], model.stats(options)
    document, outputs = fitting.document(prepared.classes), len(prepared.classes)
    with progress("evaluate: baselines", len(features.names) * len(requests), "fits") as advance:
        for name in features.names:
            parts = []
            for request in requests:
                splits = prepared.indices(request.fold)
                fitted_on, test = np.union1d(splits["train"], splits["val"]), splits["test"]
                probabilities = fitting.fit_and_predict(
                    features.fetch(name, fitted_on), prepared.targets[fitted_on], features.fetch(name, test), outputs
                )
                # A bundle gives the probabilities of each network for tiles; this is one network.
                output = probabilities[:, None] if prepared.slides else probabilities
                parts.append(task.from_bundle(prepared, test, output, document))
                advance()
            stats = task.pool(parts).stats(options)
            compared.append(
                {
                    "name": name,
                    "title": TITLES[name],
                    "test": _as_dicts(intervals(metrics, stats, options.confidence)),
                    "fold_means": fold_means(parts, metrics, options),
                    "difference": _as_dicts(paired_interval(metrics, own, stats, options.confidence)),
                }
            )
    return compared


def baseline_lines(baselines: Sequence[Mapping[str, Any]], metrics: Sequence[Metric]) -> list[str]:
    """One line per baseline: headline metrics, and how much better or worse the model is."""
    lines = []
    for one in baselines:
        found = []
        for metric in metrics:
            if metric.headline and metric.name in one["test"] and one["test"][metric.name]["value"] is not None:
                own, difference = one["test"][metric.name], one["difference"][metric.name]
                found.append(f"{metric.title} {own['value']:.3f} (model {_signed(difference)})")
        lines.append(f"{one['title']}: {', '.join(found)}")
    return lines


SECTION = """\
{% macro ends(figure) %}{% if figure.reason is defined %}no interval: {{ figure.reason }}{% else %}\
{{ figure.lo|number }} to {{ figure.hi|number }}{% endif %}{% endmacro %}\
<h2>Baselines</h2>
<table>
<tr><th>baseline</th><th>metric</th><th class="n">baseline</th><th class="n">{{ percent }} % interval</th>
<th class="n">model less baseline</th><th class="n">{{ percent }} % interval</th></tr>
{% for row in rows %}<tr><td>{{ row.title }}</td><td>{{ row.metric }}</td><td class="n">{{ row.test.value|number }}\
{% if row.fold_mean %}<small>mean over folds {{ row.fold_mean.mean|number }}</small>{% endif %}</td>
<td class="n">{{ ends(row.test) }}</td>
<td class="n">{{ row.difference.value|number }}</td>
<td class="n">{{ ends(row.difference) }}</td></tr>
{% endfor %}</table>
<p class="facts">Fitted on features of the frozen backbone, on the training and validation images of each fold, with
balanced class weights and the most probable class as decision. Differences are paired by patient.
{% if verdict %}<b>{{ verdict }}.</b>{% endif %}</p>
"""


def baseline_section(
    baselines: Sequence[Mapping[str, Any]], metrics: Sequence[Metric], facts: Mapping[str, Any]
) -> str:
    """Return the section of report.html on the headline metrics; empty without baselines.

    Args:
        baselines: from `evaluate_baselines`.
        metrics: of the task.
        facts: `medtune.evaluation.facts.common_facts`, and `baseline_verdict`.
    """
    if not baselines:
        return ""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["number"] = lambda value: "–" if value is None else f"{value:.3f}"
    rows = [
        {
            "title": one["title"],
            "metric": metric.title + metric.positive_note(facts.get("positive")),
            "test": one["test"][metric.name],
            "fold_mean": one["fold_means"].get(metric.name),
            "difference": one["difference"][metric.name],
        }
        for one in baselines
        for metric in metrics
        if metric.headline and metric.name in one["test"]
    ]
    page = environment.from_string(SECTION)
    return page.render(rows=rows, percent=facts["percent"], verdict=facts.get("baseline_verdict"))


def verdict(baselines: Sequence[Mapping[str, Any]], metric: Metric | None) -> str | None:
    """One sentence if a baseline is better than the model in `metric`; None if none is, or nothing is known."""
    if metric is None:
        return None
    worse = []
    for one in baselines:
        difference = one["difference"].get(metric.name, {})
        if difference.get("value") is not None and metric.sign * difference["value"] < 0:
            worse.append((metric.sign * difference["value"], one, difference))
    if not worse:
        return None
    _, one, difference = min(worse, key=lambda entry: entry[0])
    if difference["lo"] is None:
        shown = "no interval of the difference"
    elif difference["hi"] < 0 if metric.sign > 0 else difference["lo"] > 0:
        shown = "a significant difference"
    else:
        shown = "no significant difference"
    title = one["title"][0].upper() + one["title"][1:]
    return (
        f"{title} is better than this model: {metric.title} {one['test'][metric.name]['value']:.3f}, "
        f"model {_signed(difference)}, {shown}"
    )


def _signed(difference: Mapping[str, Any]) -> str:
    if difference["lo"] is None:
        return f"{difference['value']:+.3f}"
    return f"{difference['value']:+.3f} ({difference['lo']:+.3f} to {difference['hi']:+.3f})"


def _as_dicts(found: Mapping[str, Interval]) -> dict[str, dict[str, Any]]:
    return {name: one.as_dict() for name, one in found.items()}

"""Logistic-regression baselines on frozen features, compared with the model on the same test images.

The baselines show whether training is better than a few lines of scikit-learn on the features of the same backbone.
The baseline of a fold is fitted on the fold's training and validation images, because no setting is selected on
validation. The baseline predicts the most probable class.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from medtune.config.schema import EvaluateParams
from medtune.evaluation.facts import fold_means
from medtune.evaluation.intervals import Interval, intervals, paired_interval
from medtune.evaluation.metric import Metric
from medtune.evaluation.outputs import OutputsRequest
from medtune.evaluation.result import Predictions
from medtune.evaluation.templates import render_template
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
        self, features: npt.NDArray[Any], targets: npt.NDArray[Any], test: npt.NDArray[Any], n_outputs: int
    ) -> npt.NDArray[Any]:
        """Fit on `features` (n, D) and `targets` (n, ...), and predict `test` (m, D).

        Args:
            features: (n, D) features of the training images.
            targets: (n, ...) targets of these images.
            test: (m, D) features of the test images.
            n_outputs: number of outputs, for example of classes.

        Returns:
            (m, n_outputs) outputs, as a bundle returns them.
        """

    def document(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """Return the decision rule as the bundle.json fields that `Evaluation.from_bundle` reads."""


class Features(Protocol):
    """Image features computed by a frozen backbone."""

    names: tuple[str, ...]

    def fetch(self, name: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the features `name`, shape (n, C), of the images with the indices `rows`, shape (n,)."""


def rows_needed(prepared: "PreparedDataset", requests: Iterable[OutputsRequest]) -> npt.NDArray[np.int64]:
    """Return the indices of all images that the baselines of these folds are fitted on or predict."""
    rows = [
        indices
        for request in requests
        for split, indices in prepared.indices(request.fold).items()
        if split != "external"
    ]
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
        task: evaluation functions of the task (`medtune.tasks.base.Evaluation`).
        fitting: baseline of the task.
        prepared: prepared data. For slides, this is the set of tiles.
        requests: network and image indices of each fold.
        model: predictions of the model for the test images of all folds, in the order of `requests`.
        features: features of all images in `rows_needed`.
        metrics: metrics of the task.
        options: section `evaluate` of the params.

    Returns:
        One entry `{name, title, test, fold_means, difference}` per baseline. `test` has the baseline's metrics by name.
        `difference` has the model's metrics minus the baseline's, paired by patient. Both have the format of
        `Interval.as_dict`. `fold_means` is the result of `medtune.evaluation.facts.fold_means`.
    """
    compared = []
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
                # For tiles, a bundle returns probabilities per network. A baseline counts as a single network.
                output = probabilities[:, None] if prepared.slide_of_tile else probabilities
                parts.append(task.from_bundle(prepared, test, output, document))
                advance()
            compared.append(compare_baseline(name, TITLES[name], parts, task.pool(parts), model, metrics, options))
    return compared


def compare_baseline(
    name: str,
    title: str,
    parts: Sequence[Predictions],
    pooled: Predictions,
    model: Predictions,
    metrics: Sequence[Metric],
    options: EvaluateParams,
) -> dict[str, Any]:
    """Compare a baseline with the model, paired by patient.

    Args:
        name: name of the baseline.
        title: name in reports.
        parts: predictions of the baseline for the test images of each fold.
        pooled: the same predictions, concatenated.
        model: predictions of the model for the same images in the same order.
        metrics: metrics of the task.
        options: section `evaluate` of the params.

    Returns:
        An entry of `evaluate_baselines`.
    """
    stats = pooled.stats(options)
    return {
        "name": name,
        "title": title,
        "test": _as_dicts(intervals(metrics, stats, options.confidence)),
        "fold_means": fold_means(parts, metrics, options),
        "difference": _as_dicts(paired_interval(metrics, model.stats(options), stats, options.confidence)),
    }


def baseline_lines(baselines: Sequence[Mapping[str, Any]], metrics: Sequence[Metric]) -> list[str]:
    """Return one line per baseline: headline metrics (`Metric.headline`), and the model's metrics minus these."""
    lines = []
    for baseline in baselines:
        parts = []
        for metric in metrics:
            result = baseline["test"].get(metric.name)
            if metric.headline and result is not None and result["value"] is not None:
                difference = baseline["difference"][metric.name]
                parts.append(f"{metric.title} {result['value']:.3f} (model minus baseline {_signed(difference)})")
        lines.append(f"{baseline['title']}: {', '.join(parts)}")
    return lines


def baseline_section(
    baselines: Sequence[Mapping[str, Any]], metrics: Sequence[Metric], facts: Mapping[str, Any]
) -> str:
    """Render the section of report.html about the baselines and controls.

    Args:
        baselines: result of `evaluate_baselines`.
        metrics: metrics of the task. Only headline metrics are shown.
        facts: result of `medtune.evaluation.facts.common_facts`, plus `baseline_verdict` and `controls`, the entries of
            `medtune.evaluation.control_comparison`.

    Returns:
        HTML; an empty string if there are neither baselines nor controls.
    """
    controls = facts.get("controls") or []
    if not baselines and not controls:
        return ""
    trained = [entry for entry in controls if entry["trained"]]
    rows = [
        {
            "title": baseline["title"],
            "training": baseline.get("training", {}).get("control"),
            "metric": metric.title + metric.positive_note(facts.get("positive")),
            "test": baseline["test"][metric.name],
            "fold_mean": baseline["fold_means"].get(metric.name),
            "difference": baseline["difference"][metric.name],
        }
        for baseline in [*baselines, *trained]
        for metric in metrics
        if metric.headline and metric.name in baseline["test"]
    ]
    return render_template(
        "evaluation/baselines.html.j2",
        rows=rows,
        percent=facts["percent"],
        verdict=facts.get("baseline_verdict"),
        note=facts.get("baseline_note"),
        person="patient" if facts.get("patients_known", True) else facts.get("unit", "images")[:-1],
        controls=controls,
        model_training=trained[0]["training"]["model"] if trained else None,
    )


def verdict_metric(metrics: Sequence[Metric]) -> Metric | None:
    """Return the metric that compares baselines with the model: AUROC, else the first headline metric, else None."""
    by_name = {metric.name: metric for metric in metrics}
    return by_name.get("auroc") or next((metric for metric in metrics if metric.headline), None)


def verdict(baselines: Sequence[Mapping[str, Any]], metric: Metric | None) -> str | None:
    """Return one sentence about the best baseline if it is better than the model in `metric`, otherwise None."""
    if metric is None:
        return None
    better = []
    for baseline in baselines:
        difference = baseline["difference"].get(metric.name, {})
        if difference.get("value") is not None and metric.sign * difference["value"] < 0:
            better.append((metric.sign * difference["value"], baseline, difference))
    if not better:
        return None
    _, best, difference = min(better, key=lambda entry: entry[0])
    if difference["lo"] is None:
        significance = "no interval of the difference"
    elif difference["hi"] < 0 if metric.sign > 0 else difference["lo"] > 0:
        significance = "a significant difference"
    else:
        significance = "no significant difference"
    title = best["title"][0].upper() + best["title"][1:]
    return (
        f"{title} is better than this model: {metric.title} {best['test'][metric.name]['value']:.3f}, "
        f"model minus baseline {_signed(difference)}, {significance}"
    )


def _signed(difference: Mapping[str, Any]) -> str:
    if difference["lo"] is None:
        return f"{difference['value']:+.3f}"
    return f"{difference['value']:+.3f} ({difference['lo']:+.3f} to {difference['hi']:+.3f})"


def _as_dicts(by_name: Mapping[str, Interval]) -> dict[str, dict[str, Any]]:
    return {name: interval.as_dict() for name, interval in by_name.items()}

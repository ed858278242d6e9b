"""Comparison of a model with its control runs on the same test images (see `medtune.evaluation.control`)."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtune.config.schema import EvaluateParams
from medtune.evaluation.baselines import compare_baseline
from medtune.evaluation.control import Control
from medtune.evaluation.metric import Metric
from medtune.evaluation.result import Predictions
from medtune.evaluation.tables import read_history
from medtune.runtime.artifact import Artifact


def training_cost(networks: Sequence[Sequence[Artifact]]) -> dict[str, float]:
    """Return what the training of the networks of all folds took.

    Args:
        networks: artifacts of the training stages per fold, in the order of training.

    Returns:
        `parameters`: number of trained parameters of the last stage. `steps`: optimizer steps of all stages and folds
        at the selected learning rates. `seconds`: time of all stages and folds at all learning rates.
    """
    steps = seconds = 0.0
    for artifact in (artifact for stages in networks for artifact in stages):
        result, history = artifact.result(), read_history(artifact.folder / "history.csv")
        steps += history[-1]["step"] if history else 0
        trials = [trial["seconds"] for trial in result["trials"] if "seconds" in trial]
        seconds += sum(trials) if trials else result["seconds"]
    trained = networks[0][-1].result()["trainable"]
    return {"parameters": int(trained), "steps": int(steps), "seconds": round(seconds, 1)}


def absent_control(control: Control) -> dict[str, Any]:
    """Return the entry of a control that is not trained."""
    return {"name": control.name, "title": control.title, "trained": False, "absence": control.absence}


def compare_control(
    control: Control,
    parts: Sequence[Predictions],
    pooled: Predictions,
    model: Predictions,
    costs: Mapping[str, Mapping[str, float]],
    metrics: Sequence[Metric],
    options: EvaluateParams,
) -> dict[str, Any]:
    """Compare a control with the model, paired by patient.

    Args:
        control: the control.
        parts: predictions of the control for the test images of each fold.
        pooled: the same predictions, concatenated.
        model: predictions of the model for the same images in the same order.
        costs: results of `training_cost` for the networks of the control and of the model, with the keys `control` and
            `model`.
        metrics: metrics of the task.
        options: section `evaluate` of the params.

    Returns:
        An entry of `controls` in metrics.json. It has the keys of `medtune.evaluation.baselines.compare_baseline`,
        `trained`, `training` (the `costs`) and `sentence`, which states what the part of the model contributes.
    """
    entry = compare_baseline(control.name, control.title, parts, pooled, model, metrics, options)
    main = next((metric for metric in metrics if metric.headline), metrics[0])
    return {
        **entry,
        "trained": True,
        "training": {name: dict(cost) for name, cost in costs.items()},
        "sentence": _sentence(control, entry, main),
    }


def control_lines(controls: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line per control: its sentence, or the reason why the control is not trained."""
    return [
        entry["sentence"] if entry["trained"] else f"control {entry['title']}: {entry['absence']}" for entry in controls
    ]


def training_controls(document: Mapping[str, Any]) -> list[str]:
    """Return the `control_lines` of the training of a bundle, from the content of bundle.json; [] without controls."""
    return control_lines((document.get("metrics") or {}).get("controls") or [])


def _sentence(control: Control, entry: Mapping[str, Any], metric: Metric) -> str:
    """Return what the part that the control lacks contributes to a metric, in one sentence without a full stop."""
    test, difference = entry["test"].get(metric.name, {}), entry["difference"].get(metric.name, {})
    if difference.get("value") is None:
        return f"The contribution of the {control.part} is unknown, because {metric.title} is undefined"
    name, value = metric.title[0].upper() + metric.title[1:], _rounded(difference["value"])
    model = test["value"] + difference["value"]
    numbers = f"{name} {model:.3f} against {test['value']:.3f} of the {control.title}"
    if difference["lo"] is None:
        return f"The contribution of the {control.part} has no interval: {numbers} (difference {value})"
    lo, hi = sorted(metric.sign * difference[end] for end in ("lo", "hi"))
    if lo > 0:
        effect = f"The {control.part} improves the result"
    elif hi < 0:
        effect = f"The {control.part} makes the result worse"
    else:
        effect = f"The {control.part} adds nothing that this test set can show"
    return f"{effect}: {numbers} (difference {value}, {_rounded(difference['lo'])} to {_rounded(difference['hi'])})"


def _rounded(value: float) -> str:
    """Format a difference with three decimals. A value that rounds to zero has no sign."""
    return f"{round(value, 3) + 0.0:.3f}"

"""Report of a benchmark (report.html), a self-contained page that compares all trials."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtune.benchmark.report.comparison import compare_methods
from medtune.benchmark.report.context import report_context
from medtune.benchmark.report.formatting import metric_title, resampling_unit
from medtune.benchmark.report.metric_cube import build_cubes, sign_of
from medtune.benchmark.report.recommendation import recommendations
from medtune.benchmark.report.records import TrialRecord, kind_of
from medtune.benchmark.report.warnings import comparison_warnings
from medtune.config.errors import pluralize
from medtune.evaluation.templates import render_template
from medtune.runtime.artifact import write_text


def write_report(path: Path, trials: Sequence[TrialRecord], metric: str, confidence: float) -> list[str]:
    """Write report.html.

    Args:
        path: file to write.
        trials: all trials of the grid, including failed and pending ones.
        metric: name of the metric for the comparison.
        confidence: coverage of the intervals, 0..1. The significance level of tests is 1 - confidence.

    Returns:
        The recommendations and then the warnings, as plain text. Each begins with the dataset and the backbone.

    Raises:
        InputError: a trial does not have the metric, predictions cannot be read, or trials were tested on different
            images.
    """
    kind = kind_of(trial.result or {} for trial in trials)
    comparisons = [compare_methods(cube, confidence) for cube in build_cubes(trials, metric)]
    used = {resampling_unit(comparison.cube) for comparison in comparisons if not comparison.is_empty}
    units = sorted(used, key=lambda unit: (unit != "patient", unit))
    lines = [line for comparison in comparisons for line in recommendations(comparison)] or [
        f"No recommendation: no trial has a value of {metric_title(metric, kind)}."
    ]
    unit_names = " or ".join(f"{unit}s" for unit in units)
    facts: dict[str, Any] = {
        "grid": _grid(trials, unit_names),
        "status": _status(trials),
        "selection": _selection(trials),
        "compared": any(not comparison.is_empty for comparison in comparisons),
        "metric": metric_title(metric, kind),
        "lower": sign_of(metric, kind) < 0,
        "percent": f"{100 * confidence:g}",
        "alpha": f"{1 - confidence:.2g}",
        "units": unit_names,
        "lines": lines,
        "blocks": [report_context(comparison) for comparison in comparisons],
        "failed": [trial for trial in trials if trial.status == "failed"],
        "versions": _versions(trials),
    }
    write_text(path, render_template("benchmark/report/page.html.j2", **facts))
    return [
        *lines,
        *(
            f"{comparison.cube.data}, {comparison.cube.backbone}: {warning}"
            for comparison in comparisons
            for warning in comparison_warnings(comparison)
        ),
    ]


def _grid(trials: Sequence[TrialRecord], units: str) -> str:
    """List the numbers and names of datasets, backbones, methods, seeds and percentages in the grid."""
    parts = []
    for axis, noun in (("data", "dataset"), ("backbone", "backbone"), ("method", "method"), ("seed", "seed")):
        values = list(dict.fromkeys(str(getattr(trial.identity, axis)) for trial in trials))
        names = f" ({', '.join(values)})" if values and axis != "method" else ""
        parts.append(pluralize(len(values), noun) + names)
    percents = sorted({trial.identity.percent for trial in trials})
    if percents:
        nested = ", smaller subsets nested in larger ones" if len(percents) > 1 else ""
        parts.append(f"{', '.join(str(p) for p in percents)} % of the training {units or 'patients'}{nested}")
    return "; ".join(parts) + "."


def _status(trials: Sequence[TrialRecord]) -> str:
    counts = {status: sum(trial.status == status for trial in trials) for status in ("done", "failed", "pending")}
    return f"{pluralize(len(trials), 'trial')}: {', '.join(f'{n} {status}' for status, n in counts.items())}."


def _selection(trials: Sequence[TrialRecord]) -> str:
    """Describe how the learning rate is selected; empty if no trial has results."""
    results = [trial.result for trial in trials if trial.result is not None]
    tried = sorted({candidate["lr"] for result in results for candidate in result.get("trials", [])})
    if not tried:
        return ""
    criterion = ", ".join(
        sorted({metric_title(result["monitor"], kind_of(results)) for result in results if result.get("monitor")})
    )
    rates = ", ".join(f"{rate:g}" for rate in tried)
    return f"Every trial uses the learning rate (tried: {rates}) and the epoch with the best validation {criterion}."


def _versions(trials: Sequence[TrialRecord]) -> str:
    """List the versions of the packages and of the code with which the trials ran."""
    versions = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in provenance.get("packages", {}).items())
        + f"; git {provenance.get('git') or 'unknown'}{' with uncommitted changes' if provenance.get('dirty') else ''}"
        for provenance in (
            trial.result["provenance"] for trial in trials if trial.result and "provenance" in trial.result
        )
    )
    return " | ".join(versions)

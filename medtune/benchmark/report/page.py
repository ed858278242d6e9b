"""report.html of a benchmark: every trial compared on one page that needs no other file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from medtune.benchmark.report.comparison import compare_methods
from medtune.benchmark.report.context import report_context
from medtune.benchmark.report.formatting import metric_title, pluralize, resampling_unit
from medtune.benchmark.report.metric_cube import build_cubes, sign_of
from medtune.benchmark.report.recommendation import recommendations
from medtune.benchmark.report.records import TrialRecord, kind_of
from medtune.benchmark.report.template import PAGE
from medtune.benchmark.report.warnings import comparison_warnings
from medtune.runtime.artifact import write_text


def write_report(path: Path, trials: Sequence[TrialRecord], metric: str, confidence: float) -> list[str]:
    """Writes the page.

    Args:
        path: where to.
        trials: the grid, failed and pending trials too.
        metric: that methods are compared by, the name of a metric of the task.
        confidence: coverage of the intervals, 0..1; tests are at 1 less this.

    Returns:
        The recommendations, then what limits them; plain text, each beginning with what it is about.

    Raises:
        InputError: no trial knows the metric, or trials cannot be paired.
    """
    kind = kind_of(trial.result or {} for trial in trials)
    comparisons = [compare_methods(block, confidence) for block in build_cubes(trials, metric)]
    units = sorted(
        {resampling_unit(comparison.cube) for comparison in comparisons if not comparison.is_empty}, reverse=True
    )
    lines = [line for comparison in comparisons for line in recommendations(comparison)] or [
        f"Nothing to recommend: no trial has a figure of {metric_title(metric, kind)}."
    ]
    said = " or ".join(f"{of}s" for of in units)
    facts: dict[str, Any] = {
        "grid": _grid(trials, said),
        "status": _status(trials),
        "chosen": _chosen(trials),
        "judged": any(not comparison.is_empty for comparison in comparisons),
        "metric": metric_title(metric, kind),
        "lower": sign_of(metric, kind) < 0,
        "percent": f"{100 * confidence:g}",
        "alpha": f"{1 - confidence:.2g}",
        "units": said,
        "lines": lines,
        "blocks": [report_context(comparison) for comparison in comparisons],
        "failed": [trial for trial in trials if trial.status == "failed"],
        "versions": _versions(trials),
    }
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    write_text(path, environment.from_string(PAGE).render(**facts))
    return [
        *lines,
        *(
            f"{comparison.cube.data}, {comparison.cube.backbone}: {said}"
            for comparison in comparisons
            for said in comparison_warnings(comparison)
        ),
    ]


def _grid(trials: Sequence[TrialRecord], units: str) -> str:
    said = []
    for axis, noun in (("data", "data set"), ("backbone", "backbone"), ("method", "method"), ("seed", "seed")):
        found = list(dict.fromkeys(str(getattr(trial.identity, axis)) for trial in trials))
        named = f" ({', '.join(found)})" if found and axis != "method" else ""
        said.append(pluralize(len(found), noun) + named)
    percents = sorted({trial.identity.percent for trial in trials})
    if percents:
        nested = ", smaller shares within larger ones" if len(percents) > 1 else ""
        said.append(f"{', '.join(str(p) for p in percents)} % of the training {units or 'patients'}{nested}")
    return "; ".join(said) + "."


def _status(trials: Sequence[TrialRecord]) -> str:
    counts = {status: sum(trial.status == status for trial in trials) for status in ("done", "failed", "pending")}
    return f"{pluralize(len(trials), 'trial')}: {', '.join(f'{n} {status}' for status, n in counts.items())}."


def _chosen(trials: Sequence[TrialRecord]) -> str:
    results = [trial.result for trial in trials if trial.result is not None]
    tried = sorted({candidate["lr"] for result in results for candidate in result.get("trials", [])})
    if not tried:
        return ""
    by = ", ".join(
        sorted({metric_title(result["monitor"], kind_of(results)) for result in results if result.get("monitor")})
    )
    rates = ", ".join(f"{rate:g}" for rate in tried)
    return f"Each trial's learning rate (tried: {rates}) and epoch are the ones with the best validation {by}."


def _versions(trials: Sequence[TrialRecord]) -> str:
    found = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in told.get("packages", {}).items())
        + f"; git {told.get('git') or 'unknown'}{' with uncommitted changes' if told.get('dirty') else ''}"
        for told in (trial.result["provenance"] for trial in trials if trial.result and "provenance" in trial.result)
    )
    return " | ".join(found)

"""report.html of a benchmark: every cell compared on one page that needs no other file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from medtune.benchmark.report.comparison import compare_methods
from medtune.benchmark.report.context import report_context
from medtune.benchmark.report.formatting import metric_title, pluralize, resampling_unit
from medtune.benchmark.report.metric_cube import build_cubes, sign_of
from medtune.benchmark.report.recommendation import recommendations
from medtune.benchmark.report.records import CellRecord, kind_of
from medtune.benchmark.report.template import PAGE
from medtune.benchmark.report.warnings import comparison_warnings
from medtune.runtime.artifact import write_text


def write_report(path: Path, cells: Sequence[CellRecord], metric: str, confidence: float) -> list[str]:
    """Writes the page.

    Args:
        path: where to.
        cells: the grid, failed and pending cells too.
        metric: that methods are compared by, the name of a metric of the task.
        confidence: coverage of the intervals, 0..1; tests are at 1 less this.

    Returns:
        The recommendations, then what limits them; plain text, each beginning with what it is about.

    Raises:
        InputError: no cell knows the metric, or cells cannot be paired.
    """
    kind = kind_of(cell.result or {} for cell in cells)
    comparisons = [compare_methods(block, confidence) for block in build_cubes(cells, metric)]
    units = sorted(
        {resampling_unit(comparison.cube) for comparison in comparisons if not comparison.is_empty}, reverse=True
    )
    lines = [line for comparison in comparisons for line in recommendations(comparison)] or [
        f"Nothing to recommend: no cell has a figure of {metric_title(metric, kind)}."
    ]
    said = " or ".join(f"{of}s" for of in units)
    facts: dict[str, Any] = {
        "grid": _grid(cells, said),
        "status": _status(cells),
        "chosen": _chosen(cells),
        "judged": any(not comparison.is_empty for comparison in comparisons),
        "metric": metric_title(metric, kind),
        "lower": sign_of(metric, kind) < 0,
        "percent": f"{100 * confidence:g}",
        "alpha": f"{1 - confidence:.2g}",
        "units": said,
        "lines": lines,
        "blocks": [report_context(comparison) for comparison in comparisons],
        "failed": [cell for cell in cells if cell.status == "failed"],
        "versions": _versions(cells),
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


def _grid(cells: Sequence[CellRecord], units: str) -> str:
    said = []
    for axis, noun in (("data", "data set"), ("backbone", "backbone"), ("method", "method"), ("seed", "seed")):
        found = list(dict.fromkeys(str(getattr(cell.identity, axis)) for cell in cells))
        named = f" ({', '.join(found)})" if found and axis != "method" else ""
        said.append(pluralize(len(found), noun) + named)
    percents = sorted({cell.identity.percent for cell in cells})
    if percents:
        nested = ", smaller shares within larger ones" if len(percents) > 1 else ""
        said.append(f"{', '.join(str(p) for p in percents)} % of the training {units or 'patients'}{nested}")
    return "; ".join(said) + "."


def _status(cells: Sequence[CellRecord]) -> str:
    counts = {status: sum(cell.status == status for cell in cells) for status in ("done", "failed", "pending")}
    return f"{pluralize(len(cells), 'cell')}: {', '.join(f'{n} {status}' for status, n in counts.items())}."


def _chosen(cells: Sequence[CellRecord]) -> str:
    results = [cell.result for cell in cells if cell.result is not None]
    tried = sorted({trial["lr"] for result in results for trial in result.get("trials", [])})
    if not tried:
        return ""
    by = ", ".join(
        sorted({metric_title(result["monitor"], kind_of(results)) for result in results if result.get("monitor")})
    )
    rates = ", ".join(f"{rate:g}" for rate in tried)
    return f"Each cell's learning rate (tried: {rates}) and epoch are the ones with the best validation {by}."


def _versions(cells: Sequence[CellRecord]) -> str:
    found = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in told.get("packages", {}).items())
        + f"; git {told.get('git') or 'unknown'}{' with uncommitted changes' if told.get('dirty') else ''}"
        for told in (cell.result["provenance"] for cell in cells if cell.result and "provenance" in cell.result)
    )
    return " | ".join(found)

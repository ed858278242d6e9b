"""Content of the section of report.html about one dataset and backbone: values for the template.

A cell of a table belongs to one method and one percentage of the training patients.
"""

import base64
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from medtune.benchmark.report.comparison import Comparison
from medtune.benchmark.report.formatting import (
    format_count,
    format_number,
    format_p,
    format_signed,
    resampling_unit,
    sample_noun,
)
from medtune.benchmark.report.plots.costs import cost_plot
from medtune.benchmark.report.plots.forest import forest_plot
from medtune.benchmark.report.plots.fractions import fraction_plot
from medtune.benchmark.report.plots.pareto import pareto_plot
from medtune.benchmark.report.records import BASELINES
from medtune.benchmark.report.warnings import comparison_warnings
from medtune.config.errors import pluralize

PANELS_PER_PLOT = 2  # panels of one forest plot, side by side


def report_context(comparison: Comparison) -> dict[str, Any]:
    """Return the values for one comparison: an entry of `blocks` in the template `benchmark/report/page.html.j2`."""
    cube = comparison.cube
    if comparison.is_empty:
        return {"data": cube.data, "backbone": cube.backbone, "empty": True}
    percents = [p for p, best in enumerate(comparison.best) if best is not None]
    compared = [p for p in percents if comparison.against_best[p]]
    plots = [compared[start : start + PANELS_PER_PLOT] for start in range(0, len(compared), PANELS_PER_PLOT)]
    return {
        "data": cube.data,
        "backbone": cube.backbone,
        "empty": False,
        "unit": resampling_unit(cube),
        "facts": _facts(comparison),
        "warnings": comparison_warnings(comparison),
        "percents": [cube.percents[p] for p in percents],
        "rows": [_row(comparison, int(m), n, percents) for n, m in enumerate(comparison.summary.order, start=1)],
        "pareto": _embedded_png(lambda path: pareto_plot(path, comparison)),
        "fractions": _embedded_png(lambda path: fraction_plot(path, comparison)),
        "forests": [_embedded_png(partial(forest_plot, comparison=comparison, percent_indices=plot)) for plot in plots],
        "full": _against_full(comparison, percents),
        "costs": _embedded_png(lambda path: cost_plot(path, comparison)),
    }


def _facts(comparison: Comparison) -> str:
    """Describe the protocol, the numbers of images and patients, and the device, in sentences."""
    cube = comparison.cube
    results = cube.results
    unit, item = resampling_unit(cube), sample_noun(cube)
    trained = []
    for p, percent in enumerate(cube.percents):
        sizes = {
            (result["patients"]["train"], result["images"]["train"])
            for m in range(len(cube.methods))
            for result in cube.results_of(m, p)
        }
        texts = [pluralize(n_images, item) + (f" of {pluralize(n_patients, unit)}" if unit == "patient" else "")
                for n_patients, n_images in sorted(sizes)]  # fmt: skip
        trained += [f"{percent} %: {' or '.join(texts)}"] if texts else []
    images = sorted({result["images"]["test"] for result in results})
    folds = sorted({tuple(result.get("folds") or ()) for result in results})
    sentences = [
        f"Protocol {', '.join(sorted({result['protocol'] for result in results}))}"
        + (f", folds {', '.join(str(fold) for fold in folds[0])}" if len(folds) == 1 and folds[0] else ""),
        f"tested on {', '.join(pluralize(n, item) for n in images)}"
        + (f" of {pluralize(cube.n_patients, unit)}" if unit == "patient" else ""),
        f"trained on {'; '.join(trained)}",
        f"run on {', '.join(sorted({str(result.get('device')) for result in results}))}",
    ]
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in sentences) + "."


def _row(comparison: Comparison, method: int, n: int, percents: list[int]) -> dict[str, Any]:
    """Return row number `n` of the main table: one method, with one cell per percentage."""
    cube, summary = comparison.cube, comparison.summary
    fraction = cube.first_value(method, "trainable_fraction")
    return {
        "number": n,
        "method": cube.methods[method],
        "baseline": cube.methods[method] in BASELINES,
        "rank": format_number(summary.mean_rank[method], 1),
        "trainable": format_count(comparison.trainable[method]),
        "share": "–" if fraction is None else f"{100 * fraction:.3g} %",
        "cells": [_entry(comparison, method, p) for p in percents],
    }


def _entry(comparison: Comparison, method: int, percent: int) -> dict[str, Any]:
    """Return the cell of a method at the percentage with index `percent`."""
    cube, summary = comparison.cube, comparison.summary
    index = method, percent
    if np.isnan(summary.mean[index]):
        return {"mark": "none"}
    tied = method in comparison.statistically_tied(percent)
    rates = sorted({rate for result in cube.results_of(method, percent) for rate in result["lr"]})
    seeds, planned = int(summary.seeds[index]), len(cube.seeds)
    return {
        "mark": "best" if comparison.best[percent] == method else "tied" if tied else "apart",
        "mean": format_number(summary.mean[index]),
        "interval": ""
        if np.isnan(summary.lo[index])
        else f"{format_number(summary.lo[index])} to {format_number(summary.hi[index])}",
        "rank": f"{summary.rank[index]:g}",
        "spread": "" if np.isnan(summary.spread[index]) else format_number(summary.spread[index]),
        "lr": ", ".join(f"{rate:g}" for rate in rates),
        "seeds": "" if seeds == planned else f"{seeds} of {pluralize(planned, 'seed')}",
    }


def _against_full(comparison: Comparison, percents: list[int]) -> list[dict[str, Any]]:
    """Return the rows of the table of differences from full fine-tuning."""
    if not any(comparison.against_full):
        return []
    rows = []
    for m in comparison.summary.order:
        differences = [comparison.against_full[p].get(int(m)) for p in percents]
        if not any(differences):
            continue
        name = comparison.cube.methods[m]
        cells = [
            {
                "difference": format_signed(paired.difference),
                "interval": "" if np.isnan(paired.lo) else f"{format_signed(paired.lo)} to {format_signed(paired.hi)}",
                "p": format_p(paired.adjusted),
                "detectable": "" if np.isnan(paired.detectable) else format_number(paired.detectable),
                "mark": ""
                if not paired.is_significant(comparison.alpha)
                else "▲ better"
                if comparison.cube.sign * paired.difference > 0
                else "▼ worse",
            }
            if paired
            else None
            for paired in differences
        ]
        rows.append({"method": name, "baseline": name in BASELINES, "cells": cells})
    return rows


def _embedded_png(draw: Callable[[io.BytesIO], None]) -> str:
    png = io.BytesIO()
    draw(png)
    return base64.b64encode(png.getvalue()).decode()

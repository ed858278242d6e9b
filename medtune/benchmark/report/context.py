"""What the page says of one block: rows of its tables, its pictures, its facts."""

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from medtune.benchmark.report.comparison import Judged
from medtune.benchmark.report.formatting import counted, number, p_text, parameters, signed, unit
from medtune.benchmark.report.plots.costs import draw_costs
from medtune.benchmark.report.plots.forest import draw_forest
from medtune.benchmark.report.plots.fractions import draw_fractions
from medtune.benchmark.report.plots.pareto import draw_trade
from medtune.benchmark.report.records import BASELINES
from medtune.benchmark.report.warnings import limits

ABREAST = 2  # panels of a forest side by side


def view(judged: Judged) -> dict[str, Any]:
    """All that `medtune.benchmark.report.template.PAGE` asks of a block."""
    block = judged.block
    if judged.empty:
        return {"data": block.data, "backbone": block.backbone, "empty": True}
    percents = [p for p, best in enumerate(judged.best) if best is not None]
    compared = [p for p in percents if judged.against_best[p]]
    pairs = [compared[start : start + ABREAST] for start in range(0, len(compared), ABREAST)]
    return {
        "data": block.data,
        "backbone": block.backbone,
        "empty": False,
        "unit": unit(block),
        "facts": _facts(judged),
        "limits": limits(judged),
        "percents": [block.percents[p] for p in percents],
        "rows": [_row(judged, int(m), n, percents) for n, m in enumerate(judged.summary.order, start=1)],
        "trade": _embedded(lambda path: draw_trade(path, judged)),
        "fractions": _embedded(lambda path: draw_fractions(path, judged)),
        "forests": [_embedded(lambda path, some=some: draw_forest(path, judged, some)) for some in pairs],  # type: ignore[misc]
        "full": _against_full(judged, percents),
        "costs": _embedded(lambda path: draw_costs(path, judged)),
    }


def _facts(judged: Judged) -> str:
    block = judged.block
    results = block.results
    of = unit(block)
    trained = []
    for p, percent in enumerate(block.percents):
        counts = {
            (result["groups"]["train"], result["images"]["train"])
            for m in range(len(block.methods))
            for result in block.of(m, p)
        }
        told = [counted(images, "image") + (f" of {counted(groups, of)}" if of == "patient" else "")
                for groups, images in sorted(counts)]  # fmt: skip
        trained += [f"{percent} %: {' or '.join(told)}"] if told else []
    images = sorted({result["images"]["test"] for result in results})
    folds = sorted({tuple(result.get("folds") or ()) for result in results})
    said = [
        f"Protocol {', '.join(sorted({result['protocol'] for result in results}))}"
        + (f", folds {', '.join(str(fold) for fold in folds[0])}" if len(folds) == 1 and folds[0] else ""),
        f"tested on {', '.join(counted(n, 'image') for n in images)}"
        + (f" of {counted(block.n_groups, of)}" if of == "patient" else ""),
        f"trained on {'; '.join(trained)}",
        f"run on {', '.join(sorted({str(result.get('device')) for result in results}))}",
    ]
    return ". ".join(sentence[0].upper() + sentence[1:] for sentence in said) + "."


def _row(judged: Judged, method: int, n: int, percents: list[int]) -> dict[str, Any]:
    block, summary = judged.block, judged.summary
    share = block.told(method, "share")
    return {
        "number": n,
        "method": block.methods[method],
        "baseline": block.methods[method] in BASELINES,
        "rank": number(summary.mean_rank[method], 1),
        "trainable": parameters(judged.trainable[method]),
        "share": "–" if share is None else f"{100 * share:.3g} %",
        "cells": [_entry(judged, method, p) for p in percents],
    }


def _entry(judged: Judged, method: int, percent: int) -> dict[str, Any]:
    block, summary = judged.block, judged.summary
    place = method, percent
    if np.isnan(summary.mean[place]):
        return {"mark": "none"}
    level = method in judged.level(percent)
    rates = sorted({result["lr"] for result in block.of(method, percent)})
    seeds, wanted = int(summary.seeds[place]), len(block.seeds)
    return {
        "mark": "best" if judged.best[percent] == method else "level" if level else "apart",
        "mean": number(summary.mean[place]),
        "interval": ""
        if np.isnan(summary.lo[place])
        else f"{number(summary.lo[place])} to {number(summary.hi[place])}",
        "rank": f"{summary.rank[place]:g}",
        "spread": "" if np.isnan(summary.spread[place]) else number(summary.spread[place]),
        "lr": ", ".join(f"{rate:g}" for rate in rates),
        "seeds": "" if seeds == wanted else f"{seeds} of {counted(wanted, 'seed')}",
    }


def _against_full(judged: Judged, percents: list[int]) -> list[dict[str, Any]]:
    if not any(judged.against_full):
        return []
    rows = []
    for m in judged.summary.order:
        found = [judged.against_full[p].get(int(m)) for p in percents]
        if not any(found):
            continue
        name = judged.block.methods[m]
        cells = [
            {
                "difference": signed(paired.difference),
                "interval": "" if np.isnan(paired.lo) else f"{signed(paired.lo)} to {signed(paired.hi)}",
                "p": p_text(paired.adjusted),
                "mark": ""
                if not paired.separates(judged.alpha)
                else "▲ better"
                if judged.block.sign * paired.difference > 0
                else "▼ worse",
            }
            if paired
            else None
            for paired in found
        ]
        rows.append({"method": name, "baseline": name in BASELINES, "cells": cells})
    return rows


def _embedded(draw: Callable[[io.BytesIO], None]) -> str:
    picture = io.BytesIO()
    draw(picture)
    return base64.b64encode(picture.getvalue()).decode()

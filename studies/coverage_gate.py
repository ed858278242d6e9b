"""Simulated decisions of the gate, which compares a new model with the accepted model, for `studies.coverage`.

The new model is as good as the accepted model, or better.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from medtune.config.evaluation import EvaluateParams
from medtune.evaluation.gate import compare
from medtune.evaluation.metric import Metric, PatientStats, compute
from medtune.tasks.classification.metrics import METRICS as OF_CLASSES
from medtune.tasks.multilabel.metrics import METRICS as OF_FINDINGS
from studies.coverage_sets import Model, draw_classes, draw_findings

LIMIT = 0.025  # largest accepted fraction of promotions of an equally good model
EQUAL = (Model(), Model())
BETTER = (Model(1.65), Model(1.3))
# Simulated test sets: patients per class for two and three classes, and all patients for three findings.
TWO = ((2, 3), (3, 3), (3, 5), (4, 4), (3, 12), (5, 10), (10, 10), (10, 20), (27, 53))
THREE = ((3, 3, 3), (5, 5, 5), (10, 10, 10), (27, 27, 27))
FINDINGS = (5, 8, 12, 20, 30, 80)
POWER = ("accuracy", "balanced_accuracy", "auroc")
Pair = Sequence[PatientStats]
Shares = dict[str, dict[str, float]]


def compared(metrics: Sequence[Metric]) -> list[Metric]:
    """Return the metrics that `gate.metric` accepts."""
    return [metric for metric in metrics if metric.no_interval is None and metric.direction != "target"]


def promotions(
    draw: Callable[[np.random.Generator], Pair], metrics: Sequence[Metric], sets: int, both: bool
) -> dict[str, float]:
    """Return the fraction of sets, 0..1, in which the gate would promote the first of two models.

    Args:
        draw: function that returns the statistics of the two models on one simulated set.
        metrics: metrics to compare; the result has only metrics that are defined for the sets.
        sets: number of simulated sets.
        both: for two equally good models. True: return the mean of the fractions of the first and the second model.

    Returns:
        Fractions by metric.
    """
    count: dict[str, float] = {}
    for number in range(sets):
        first, second = draw(np.random.default_rng([number, 7]))
        differences = compare(metrics, first, second, EvaluateParams().confidence)
        for metric in metrics:
            difference = differences.get(metric.name)
            if difference is None:
                continue
            low, high = difference.lo, difference.hi
            better = low is not None and high is not None and (low > 0 if metric.sign > 0 else high < 0)
            worse = low is not None and high is not None and (high < 0 if metric.sign > 0 else low > 0)
            count[metric.name] = count.get(metric.name, 0) + ((better + worse) / 2 if both else better)
    return {name: value / sets for name, value in count.items()}


def _draw_pair(draw: np.random.Generator, sizes: Sequence[int], models: tuple[Model, Model]) -> Pair:
    return draw_classes(draw, sizes, models)


def _draw_pair_of_findings(draw: np.random.Generator, patients: int, models: tuple[Model, Model]) -> Pair:
    return draw_findings(draw, patients, models)


def gate_shares(sets: int) -> dict[str, Shares]:
    """Return the fraction of promotions of an equally good model, by table, patients and metric."""
    of_classes, of_findings = compared(OF_CLASSES), compared(OF_FINDINGS)
    tables: dict[str, Shares] = {"two classes": {}, "three classes": {}, "three findings": {}}
    for title, cells in (("two classes", TWO), ("three classes", THREE)):
        for sizes in cells:
            draw = partial(_draw_pair, sizes=sizes, models=EQUAL)
            tables[title][" + ".join(map(str, sizes))] = promotions(draw, of_classes, sets, both=True)
    for n in FINDINGS:
        draw = partial(_draw_pair_of_findings, patients=n, models=EQUAL)
        tables["three findings"][str(n)] = promotions(draw, of_findings, sets, both=True)
    return tables


def power_shares(sets: int) -> Shares:
    """Return the fraction of promotions of a better model, by patients of the two classes and metric."""
    metrics = [metric for metric in OF_CLASSES if metric.name in POWER]
    return {
        " + ".join(map(str, sizes)): promotions(
            partial(_draw_pair, sizes=sizes, models=BETTER), metrics, sets, both=False
        )
        for sizes in TWO
    }


def exceeding(tables: dict[str, Shares], sets: int) -> list[str]:
    """Return one sentence for each fraction of promotions above `LIMIT` by more than two standard errors."""
    highest = LIMIT + 2 * (LIMIT * (1 - LIMIT) / sets / 2) ** 0.5
    return [
        f"gate, {title}, {cell} patients, {name}: {100 * share:.1f} % promoted"
        for title, cells in tables.items()
        for cell, by_metric in cells.items()
        for name, share in by_metric.items()
        if share > highest
    ]


def gate_lines(tables: dict[str, Shares], power: Shares) -> list[str]:
    """Return the Markdown lines of the tables about the gate."""
    lines = []
    for title, cells in tables.items():
        names = list(next(iter(cells.values())))
        lines += [f"| equally good, {title} | {' | '.join(cells)} |", "|-" * (1 + len(cells)) + "|"]
        for name in names:
            shown = " | ".join(f"{100 * by_metric[name]:.1f}" for by_metric in cells.values())
            lines.append(f"| {name.replace('_', ' ')} | {shown} |")
        lines.append("")
    every = [share for cells in tables.values() for by_metric in cells.values() for share in by_metric.values()]
    lines += [
        f"The {len(every)} percentages in these tables are between {100 * min(every):.1f} and "
        f"{100 * max(every):.1f} %. "
        f"Number of percentages above {100 * LIMIT:.1f} %: {sum(share > LIMIT for share in every)}.",
        "",
        "The last table is for a new model that is better than the accepted model. "
        "Each value is the percentage of sets in which the gate promotes the new model. "
        "The first column has the true values of both models. "
        "The headings of the other columns are numbers of patients per class, negative + positive.",
        "",
    ]
    large = draw_classes(np.random.default_rng(0), (10_000, 10_000), BETTER)
    metrics = [metric for metric in OF_CLASSES if metric.name in POWER]
    values = [compute(metrics, stats) for stats in large]
    lines += [f"| better, two classes | {' | '.join(power)} |", "|-" * (1 + len(power)) + "|"]
    for metric in metrics:
        name = f"{metric.title} {values[0][metric.name][0]:.3f} instead of {values[1][metric.name][0]:.3f}"
        lines.append(f"| {name} | {' | '.join(f'{100 * cell[metric.name]:.0f}' for cell in power.values())} |")
    return [*lines, ""]

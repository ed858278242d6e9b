"""`python -m studies.coverage`: simulate the coverage of confidence intervals, for the tables of docs/statistics.md.

The simulation draws test sets (`studies.coverage_sets`) and computes their intervals with the code of MedTune. The
true value of a metric is its value on a very large set. The coverage is the percentage of intervals that contain the
true value. The gate compares a new model with the accepted model. The command exits with 1 if a value misses its range
by more than two standard errors. The range of a coverage is 93 to 97 %. Of two equally good models, the gate may
promote the new one in at most 2.5 % of the sets.
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import typer

from medtune.config.project import PROJECT
from medtune.evaluation.intervals import Interval, intervals, paired_interval
from medtune.evaluation.metric import Metric, PatientStats, compute
from medtune.runtime.artifact import write_text
from medtune.runtime.console import info
from medtune.tasks.classification.class_metrics import class_metrics
from medtune.tasks.classification.metrics import METRICS as OF_CLASSES
from medtune.tasks.multilabel.metrics import METRICS as OF_FINDINGS
from medtune.tasks.multilabel.metrics import finding_metrics
from studies.coverage_gate import LIMIT, exceeding, gate_lines, gate_shares, power_shares
from studies.coverage_sets import Model, class_sizes, draw_classes, draw_findings

PAGE = PROJECT / "docs" / "statistics.md"
BEGIN, END = "<!-- tables of python -m studies.coverage -->\n", "<!-- end of the tables -->\n"
PATIENTS = (8, 12, 20, 30, 80)
LARGE = 30_000  # patients of the set that gives the true values
PAIR = (Model(1.3), Model(1.0))
TARGET = (0.93, 0.97)
# A coverage is omitted if a smaller fraction of the sets has an interval.
SHOWN = 0.05
Table = dict[str, list[str]]


def class_metric_list(classes: int) -> list[Metric]:
    """Return the metrics with intervals for one class per image, and the metrics of each single class."""
    per_class = [metric for label in range(classes) for metric in class_metrics(label).values()]
    return [metric for metric in OF_CLASSES if metric.no_interval is None] + per_class


def finding_metric_list() -> list[Metric]:
    """Return the metrics for several findings per image, and the metrics of each single finding."""
    return [*OF_FINDINGS, *(metric for k in range(3) for metric in finding_metrics(k).values())]


def cover(
    draw: Callable[[np.random.Generator], Any],
    measure: Callable[[Any], dict[str, Interval]],
    truth: dict[str, float],
    sets: int,
    seed: int,
) -> dict[str, tuple[int, int]]:
    """Count the intervals of simulated test sets that contain the true value.

    Args:
        draw: function that draws one test set.
        measure: function that computes the intervals of a test set.
        truth: true value by metric.
        sets: number of test sets.
        seed: random seed.

    Returns:
        By metric, the number of intervals that contain the true value, and the number of all intervals.
    """
    counts = {name: [0, 0] for name in truth}
    for number in range(sets):
        for name, interval in measure(draw(np.random.default_rng([seed, number]))).items():
            if interval.lo is not None and interval.hi is not None:
                counts[name][0] += interval.lo <= truth[name] <= interval.hi
                counts[name][1] += 1
    return {name: (hits, n) for name, (hits, n) in counts.items()}


def true_values(metrics: Sequence[Metric], large: PatientStats, sizes: Sequence[int] | None = None) -> dict[str, float]:
    """Return the metrics of a large set. The patients are weighted to have the class proportions of `sizes`."""
    weights = np.ones((1, large.n_patients))
    if sizes is not None:
        strata = getattr(large, "strata", np.zeros(large.n_patients, np.int64))
        weights = (np.asarray(sizes) / np.bincount(strata))[strata][None] * len(strata) / np.sum(sizes)
    return {name: float(value[0]) for name, value in compute(metrics, large, weights).items()}


def cover_classes(kind: str, sets: int, patients: Sequence[int] = PATIENTS) -> dict[int, dict[str, tuple[int, int]]]:
    """Return the coverage of every metric of one class per image, by number of patients."""
    metrics = class_metric_list(len(class_sizes(kind, 12)))
    (large,) = draw_classes(np.random.default_rng(0), class_sizes(kind, LARGE))
    counts = {}
    for n in patients:
        sizes = class_sizes(kind, n)
        draw = partial(_first, draw_classes, sizes=sizes)
        measure = partial(_intervals, metrics)
        counts[n] = cover(draw, measure, true_values(metrics, large, sizes.tolist()), sets, n)
    return counts


def cover_findings(sets: int, patients: Sequence[int] = PATIENTS) -> dict[int, dict[str, tuple[int, int]]]:
    """Return the coverage of every metric of several findings, by number of patients."""
    metrics = finding_metric_list()
    truth = true_values(metrics, draw_findings(np.random.default_rng(0), LARGE)[0])
    measure = partial(_intervals, metrics)
    return {n: cover(partial(_first, draw_findings, patients=n), measure, truth, sets, n) for n in patients}


def cover_differences(sets: int, patients: Sequence[int] = PATIENTS) -> dict[int, dict[str, tuple[int, int]]]:
    """Return the coverage of the paired difference of two models, by number of patients."""
    metrics = [metric for metric in OF_CLASSES if metric.no_interval is None]
    large = draw_classes(np.random.default_rng(0), class_sizes("two classes", LARGE), PAIR)
    counts = {}
    for n in patients:
        sizes = class_sizes("two classes", n)
        first, second = (true_values(metrics, stats, sizes.tolist()) for stats in large)
        truth = {f"difference of {name}": first[name] - second[name] for name in first}
        draw = partial(draw_classes, sizes=sizes, models=PAIR)
        counts[n] = cover(draw, partial(_differences, metrics), truth, sets, n)
    return counts


def _first(function: Callable[..., list[Any]], draw: np.random.Generator, **options: Any) -> Any:
    """Call a function that returns a list, and return the first element."""
    return function(draw, **options)[0]


def _intervals(metrics: Sequence[Metric], stats: PatientStats) -> dict[str, Interval]:
    return intervals(metrics, stats)


def _differences(metrics: Sequence[Metric], pair: Sequence[PatientStats]) -> dict[str, Interval]:
    return {f"difference of {name}": interval for name, interval in paired_interval(metrics, pair[0], pair[1]).items()}


def coverage_lines(title: str, found: dict[int, dict[str, tuple[int, int]]], sets: int) -> list[str]:
    """Return the lines of one table with the percentage of intervals that contain the truth."""
    lines = [f"| {title} | {' | '.join(f'{n} patients' for n in found)} |", "|-" * (1 + len(found)) + "|"]
    for name in next(iter(found.values())):
        cells = [_cell(*by_metric[name], sets) for by_metric in found.values()]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    return [*lines, ""]


def _cell(hits: int, n: int, sets: int) -> str:
    """Format the percentage of `n` intervals that contain the true value, and of `sets` that have an interval."""
    if n < sets * SHOWN:
        return "–"
    return f"{100 * hits / n:.1f}" + ("" if n > 0.99 * sets else f" ({100 * n / sets:.0f} %)")


def outside(title: str, found: dict[int, dict[str, tuple[int, int]]], sets: int) -> list[str]:
    """Describe the coverages that are outside `TARGET` by more than two standard errors."""
    sentences = []
    for n, by_metric in found.items():
        for name, (hits, count) in by_metric.items():
            if count < sets * SHOWN:
                continue
            low, high = (2 * (bound * (1 - bound) / count) ** 0.5 for bound in TARGET)
            if not TARGET[0] - low <= hits / count <= TARGET[1] + high:
                sentences.append(f"{title}, {n} patients, {name}: {100 * hits / count:.1f} % of {count} intervals")
    return sentences


def page(sets: int, gate_sets: int) -> tuple[str, list[str]]:
    """Return the tables as Markdown, and sentences about the values that miss their target."""
    error = 100 * (0.95 * 0.05 / sets) ** 0.5
    lines = [
        "Each value is the percentage of 95 % intervals that contain the true value. "
        f"It is computed from {sets:,} simulated test sets, so its standard error is {error:.1f}. "
        "In some sets, a metric has no interval. "
        "Parentheses then contain the percentage of sets with an interval. "
        f"A dash (–) means that fewer than {100 * SHOWN:.0f} % of the sets have an interval.",
        "",
    ]
    missed, shares = [], []
    tables: dict[str, Callable[[int], dict[int, dict[str, tuple[int, int]]]]] = {
        "two classes": partial(cover_classes, "two classes"),
        "three classes": partial(cover_classes, "three classes"),
        "three findings": cover_findings,
        "two models, paired": cover_differences,
    }
    for title, measure in tables.items():
        found = measure(sets)
        lines += coverage_lines(title, found, sets)
        missed += outside(title, found, sets)
        shares += [hits / n for cells in found.values() for hits, n in cells.values() if n >= sets * SHOWN]
        info(f"coverage: {title}")
    lines += [
        f"The {len(shares)} percentages in these tables are between {100 * min(shares):.1f} and "
        f"{100 * max(shares):.1f} %. Their mean is {100 * float(np.mean(shares)):.1f} %. "
        f"Number of percentages that miss the range from {100 * TARGET[0]:.0f} to {100 * TARGET[1]:.0f} % by more than "
        f"two standard errors: {len(missed) or 'none'}.",
        "",
        "The next tables are for a new model that is only as good as the accepted model. "
        "Each value is the percentage of sets in which the gate would promote the new model. "
        f"It is computed from {gate_sets:,} sets, and its standard error is "
        f"{100 * (LIMIT * (1 - LIMIT) / gate_sets / 2) ** 0.5:.2f}. "
        "In each set, the two models also exchange their roles. "
        "The headings of the columns are numbers of patients per class. "
        "With two classes, these are negative + positive patients. "
        "With findings, a heading is the number of all patients.",
        "",
    ]
    equal, power = gate_shares(gate_sets), power_shares(gate_sets // 4)
    lines += gate_lines(equal, power)
    return "\n".join(lines), missed + exceeding(equal, gate_sets)


def main(
    sets: Annotated[int, typer.Option(help="Simulated sets per coverage.")] = 1000,
    gate_sets: Annotated[int, typer.Option(help="Simulated sets per value of the gate's table.")] = 1500,
    write: Annotated[bool, typer.Option(help="Write docs/statistics.md.")] = True,
) -> None:
    """Simulate, print the tables and write them into docs/statistics.md; exit 1 if a value misses its target."""
    began = time.process_time()
    tables, missed = page(sets, gate_sets)
    sys.stdout.write(tables)
    if write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        write_text(PAGE, before + BEGIN + "\n" + tables + "\n" + END + rest.partition(END)[2])
    info(f"coverage: {(time.process_time() - began) / 60:.1f} CPU minutes")
    for sentence in missed:
        info(f"coverage: outside: {sentence}")
    raise typer.Exit(1 if missed else 0)


if __name__ == "__main__":
    typer.run(main)

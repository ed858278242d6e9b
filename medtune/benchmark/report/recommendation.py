"""What the figures recommend, in sentences; each is derived from the comparison, none is written by hand."""

import numpy as np

from medtune.benchmark.report.comparison import Comparison
from medtune.benchmark.report.formatting import (
    format_count,
    format_number,
    format_p,
    format_signed,
    join_names,
    metric_title,
    pluralize,
    resampling_unit,
)
from medtune.benchmark.report.paired import PairedDifference
from medtune.benchmark.report.records import BASELINES


def recommendations(comparison: Comparison) -> list[str]:
    """One line a percent of a data set and backbone; a percent without figures has none."""
    return [_line(comparison, p) for p, best in enumerate(comparison.best) if best is not None]


def _line(comparison: Comparison, percent: int) -> str:
    cube, best = comparison.cube, comparison.best[percent]
    assert best is not None
    trained = {result["groups"]["train"] for result in cube.results_of(best, percent)}
    of = resampling_unit(cube)
    n = [
        *([pluralize(trained.pop(), f"training {of}")] if len(trained) == 1 else []),
        pluralize(cube.n_groups, f"test {of}"),
        pluralize(int(comparison.summary.seeds[best, percent]), "seed"),
    ]
    metric = metric_title(cube.metric, cube.kind)
    said = [
        f"{cube.data}, {cube.backbone}, {cube.percents[percent]} % ({', '.join(n)}): "
        f"{cube.methods[best]} has the best mean {metric}, {_mean(comparison, best, percent)}.",
        *_others(comparison, best, percent),
        *_full(comparison, percent),
    ]
    return " ".join(said)


def _others(comparison: Comparison, best: int, percent: int) -> list[str]:
    names, n = comparison.cube.methods, len(comparison.against_best[percent])
    level = comparison.statistically_tied(percent)
    if not n:
        return ["No other method has figures: nothing to compare it with."]
    if not level:
        return [f"{'All' if n > 1 else 'The'} {pluralize(n, 'other')} {'separate' if n > 1 else 'separates'} from it."]
    if comparison.cube.design is None:
        return ["Too few test patients for tests: these figures name no winner and rule no method out."]
    if len(level) == n:
        said = [f"Nothing separates from it ({_test(comparison, n)}): these figures name no winner."]
    else:
        verb = "does" if len(level) == 1 else "do"
        tied = join_names([names[m] for m in level])
        said = [f"{len(level)} of {n} others {verb} not separate from it ({_test(comparison, n)}): {tied}."]
    cheapest = min([best, *level], key=lambda m: (np.nan_to_num(comparison.trainable[m], nan=np.inf), m != best))
    trained = f"{format_count(comparison.trainable[cheapest])} trainable parameters"
    if cheapest == best:
        said.append(f"None of these trains fewer parameters than it ({trained}).")
    else:
        said.append(f"The fewest of these trains {names[cheapest]}: {trained}, {_mean(comparison, cheapest, percent)}.")
    if comparison.trainable[cheapest] == 0:
        said.append("With it the backbone stays frozen: no adaptation is shown to help.")
    return said


def _full(comparison: Comparison, percent: int) -> list[str]:
    methods, sign = comparison.cube.methods, comparison.cube.sign
    against = [paired for m, paired in comparison.against_full[percent].items() if methods[m] not in BASELINES]
    if not against or comparison.full is None:
        return []
    against.sort(key=lambda paired: -sign * paired.difference)
    over = [paired for paired in against if paired.is_significant(comparison.alpha) and sign * paired.difference > 0]
    under = [paired for paired in against if paired.is_significant(comparison.alpha) and sign * paired.difference < 0]
    full = f"full ({format_number(comparison.summary.mean[comparison.full, percent])})"
    n = pluralize(len(against), "PEFT method")
    if not over and not under:
        none = f"None of {n} separates" if len(against) > 1 else "The one PEFT method does not separate"
        return [f"{none} from {full}; the best against it: {_difference(comparison, against[0])}."]
    said = [
        f"Better than {full}: {len(over)} of {n}, by most {_difference(comparison, over[0])}."
        if over
        else f"Better than {full}: 0 of {n}."
    ]
    if under:
        said.append(f"Worse than it: {join_names([methods[paired.method] for paired in under])}.")
    return said


def _mean(comparison: Comparison, method: int, percent: int) -> str:
    summary = comparison.summary
    lo, hi = summary.lo[method, percent], summary.hi[method, percent]
    between = "" if np.isnan(lo) else f" ({format_number(lo)} to {format_number(hi)})"
    return format_number(summary.mean[method, percent]) + between


def _difference(comparison: Comparison, paired: PairedDifference) -> str:
    name = comparison.cube.methods[paired.method]
    if np.isnan(paired.lo):
        return f"{name} {format_signed(paired.difference)}"
    agree = f", same sign in {paired.n_agreeing_seeds} of {paired.seeds} seeds" if paired.seeds > 1 else ""
    return (
        f"{name} {format_signed(paired.difference)} ({format_signed(paired.lo)} to {format_signed(paired.hi)}, "
        f"p {format_p(paired.adjusted)}{agree})"
    )


def _test(comparison: Comparison, n: int) -> str:
    return f"paired over {pluralize(comparison.cube.n_groups, resampling_unit(comparison.cube))}, Holm over {n}"

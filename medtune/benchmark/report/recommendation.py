"""Recommendations: sentences about the best method, methods that are not significantly worse, and PEFT methods.

"Tied" methods are those that do not differ significantly from the best method.
"""

import numpy as np

from medtune.benchmark.report.comparison import Comparison
from medtune.benchmark.report.formatting import (
    format_count,
    format_number,
    format_p,
    format_signed,
    join_names,
    metric_title,
    resampling_unit,
)
from medtune.benchmark.report.paired import PairedDifference
from medtune.benchmark.report.records import BASELINES
from medtune.config.errors import pluralize


def recommendations(comparison: Comparison) -> list[str]:
    """Return one line per percentage of the training patients that has results."""
    return [_line(comparison, p) for p, best in enumerate(comparison.best) if best is not None]


def _line(comparison: Comparison, percent: int) -> str:
    """Return the recommendation for the percentage with index `percent`."""
    cube, best = comparison.cube, comparison.best[percent]
    assert best is not None
    trained = {result["patients"]["train"] for result in cube.results_of(best, percent)}
    unit = resampling_unit(cube)
    counts = [
        *([pluralize(trained.pop(), f"training {unit}")] if len(trained) == 1 else []),
        pluralize(cube.n_patients, f"test {unit}"),
        pluralize(int(comparison.summary.seeds[best, percent]), "seed"),
    ]
    metric = metric_title(cube.metric, cube.kind)
    sentences = [
        f"{cube.data}, {cube.backbone}, {cube.percents[percent]} % ({', '.join(counts)}): "
        f"{cube.methods[best]} has the best mean {metric}, {_mean(comparison, best, percent)}.",
        *_others(comparison, best, percent),
        *_full(comparison, percent),
    ]
    return " ".join(sentences)


def _others(comparison: Comparison, best: int, percent: int) -> list[str]:
    """Return the sentences that compare the other methods with the best method."""
    names, n = comparison.cube.methods, len(comparison.against_best[percent])
    tied = comparison.statistically_tied(percent)
    if not n:
        return ["No other method has results, so there is no comparison."]
    if not tied:
        verb = "are" if n > 1 else "is"
        return [f"{'All' if n > 1 else 'The'} {pluralize(n, 'other method')} {verb} significantly worse."]
    if comparison.cube.design is None:
        return [
            "There are too few test patients for significance tests. "
            "These results show no winner and exclude no method."
        ]
    if len(tied) == n:
        sentences = [f"No method is significantly worse ({_test(comparison, n)}). These results show no winner."]
    else:
        verb = "is" if len(tied) == 1 else "are"
        tied_names = join_names([names[m] for m in tied])
        sentences = [
            f"{len(tied)} of {n} other methods {verb} not significantly worse ({_test(comparison, n)}): {tied_names}."
        ]
    cheapest = min([best, *tied], key=lambda m: (np.nan_to_num(comparison.trainable[m], nan=np.inf), m != best))
    trained = f"{format_count(comparison.trainable[cheapest])} trainable parameters"
    if cheapest == best:
        sentences.append(f"None of these has fewer trainable parameters than {names[best]} ({trained}).")
    else:
        sentences.append(
            f"Of these, {names[cheapest]} has the fewest trainable parameters: {trained}, "
            f"{_mean(comparison, cheapest, percent)}."
        )
    if comparison.trainable[cheapest] == 0:
        sentences.append(
            f"{names[cheapest]} keeps the backbone frozen, so these results show no benefit of adaptation."
        )
    return sentences


def _full(comparison: Comparison, percent: int) -> list[str]:
    """Return the sentences that compare the PEFT methods with full fine-tuning."""
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
        none = f"None of {n} differs" if len(against) > 1 else "The PEFT method does not differ"
        return [f"{none} significantly from {full}. The best of them: {_difference(comparison, against[0])}."]
    sentences = [
        f"Better than {full}: {len(over)} of {n}. The largest gain: {_difference(comparison, over[0])}."
        if over
        else f"Better than {full}: 0 of {n}."
    ]
    if under:
        sentences.append(f"Worse than full: {join_names([methods[paired.method] for paired in under])}.")
    return sentences


def _mean(comparison: Comparison, method: int, percent: int) -> str:
    """Format the mean of a method with its interval."""
    summary = comparison.summary
    lo, hi = summary.lo[method, percent], summary.hi[method, percent]
    between = "" if np.isnan(lo) else f" ({format_number(lo)} to {format_number(hi)})"
    return format_number(summary.mean[method, percent]) + between


def _difference(comparison: Comparison, paired: PairedDifference) -> str:
    """Format a difference with the method, the interval, the p-value and the agreement of the seeds."""
    name = comparison.cube.methods[paired.method]
    if np.isnan(paired.lo):
        return f"{name} {format_signed(paired.difference)}"
    agree = f", same sign in {paired.n_agreeing_seeds} of {paired.seeds} seeds" if paired.seeds > 1 else ""
    return (
        f"{name} {format_signed(paired.difference)} ({format_signed(paired.lo)} to {format_signed(paired.hi)}, "
        f"p {format_p(paired.adjusted)}{agree})"
    )


def _test(comparison: Comparison, n: int) -> str:
    """Describe the significance test of `n` methods."""
    return f"paired over {pluralize(comparison.cube.n_patients, resampling_unit(comparison.cube))}, Holm over {n}"

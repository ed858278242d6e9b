"""What the figures recommend, in sentences; each is derived from the comparison, none is written by hand."""

import numpy as np

from medtune.benchmark.report.comparison import Judged
from medtune.benchmark.report.formatting import (
    counted,
    listed,
    metric_title,
    number,
    p_text,
    parameters,
    signed,
    unit,
)
from medtune.benchmark.report.paired import Paired, reachable
from medtune.benchmark.report.records import BASELINES


def recommend(judged: Judged) -> list[str]:
    """One line a percent of a data set and backbone; a percent without figures has none."""
    return [_line(judged, p) for p, best in enumerate(judged.best) if best is not None]


def _line(judged: Judged, percent: int) -> str:
    block, best = judged.block, judged.best[percent]
    assert best is not None
    trained = {result["groups"]["train"] for result in block.of(best, percent)}
    of = unit(block)
    n = [
        *([counted(trained.pop(), f"training {of}")] if len(trained) == 1 else []),
        counted(block.n_groups, f"test {of}"),
        counted(int(judged.summary.seeds[best, percent]), "seed"),
    ]
    metric = metric_title(block.metric, block.kind)
    said = [
        f"{block.data}, {block.backbone}, {block.percents[percent]} % ({', '.join(n)}): "
        f"{block.methods[best]} has the best mean {metric}, {_mean(judged, best, percent)}.",
        *_others(judged, best, percent),
        *_full(judged, percent),
    ]
    return " ".join(said)


def _others(judged: Judged, best: int, percent: int) -> list[str]:
    names, n = judged.block.methods, len(judged.against_best[percent])
    level = judged.level(percent)
    if not n:
        return ["No other method has figures: nothing to compare it with."]
    if not level:
        return [f"{'All' if n > 1 else 'The'} {counted(n, 'other')} {'separate' if n > 1 else 'separates'} from it."]
    if reachable(judged.block, n) >= judged.alpha:
        return [
            f"Nothing can separate from it ({_test(judged, n)}: no p-value below "
            f"{p_text(reachable(judged.block, n))}): these figures name no winner and rule no method out."
        ]
    if len(level) == n:
        said = [f"Nothing separates from it ({_test(judged, n)}): these figures name no winner."]
    else:
        verb = "does" if len(level) == 1 else "do"
        tied = listed([names[m] for m in level])
        said = [f"{len(level)} of {n} others {verb} not separate from it ({_test(judged, n)}): {tied}."]
    cheapest = min([best, *level], key=lambda m: (np.nan_to_num(judged.trainable[m], nan=np.inf), m != best))
    trained = f"{parameters(judged.trainable[cheapest])} trainable parameters"
    if cheapest == best:
        said.append(f"None of these trains fewer parameters than it ({trained}).")
    else:
        said.append(f"The fewest of these trains {names[cheapest]}: {trained}, {_mean(judged, cheapest, percent)}.")
    if judged.trainable[cheapest] == 0:
        said.append("With it the backbone stays frozen: no adaptation is shown to help.")
    return said


def _full(judged: Judged, percent: int) -> list[str]:
    methods, sign = judged.block.methods, judged.block.sign
    against = [paired for m, paired in judged.against_full[percent].items() if methods[m] not in BASELINES]
    if not against or judged.full is None:
        return []
    against.sort(key=lambda paired: -sign * paired.difference)
    over = [paired for paired in against if paired.separates(judged.alpha) and sign * paired.difference > 0]
    under = [paired for paired in against if paired.separates(judged.alpha) and sign * paired.difference < 0]
    full = f"full ({number(judged.summary.mean[judged.full, percent])})"
    n = counted(len(against), "PEFT method")
    if not over and not under:
        none = f"None of {n} separates" if len(against) > 1 else "The one PEFT method does not separate"
        return [f"{none} from {full}; the best against it: {_difference(judged, against[0])}."]
    said = [
        f"Better than {full}: {len(over)} of {n}, by most {_difference(judged, over[0])}."
        if over
        else f"Better than {full}: 0 of {n}."
    ]
    if under:
        said.append(f"Worse than it: {listed([methods[paired.method] for paired in under])}.")
    return said


def _mean(judged: Judged, method: int, percent: int) -> str:
    summary = judged.summary
    lo, hi = summary.lo[method, percent], summary.hi[method, percent]
    between = "" if np.isnan(lo) else f" ({number(lo)} to {number(hi)})"
    return number(summary.mean[method, percent]) + between


def _difference(judged: Judged, paired: Paired) -> str:
    name = judged.block.methods[paired.method]
    if np.isnan(paired.lo):
        return f"{name} {signed(paired.difference)}"
    agree = f", same sign in {paired.agree} of {paired.seeds} seeds" if paired.seeds > 1 else ""
    return (
        f"{name} {signed(paired.difference)} ({signed(paired.lo)} to {signed(paired.hi)}, "
        f"p {p_text(paired.adjusted)}{agree})"
    )


def _test(judged: Judged, n: int) -> str:
    return f"paired over {counted(judged.block.n_groups, unit(judged.block))}, Holm over {n}"

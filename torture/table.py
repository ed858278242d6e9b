"""The outcomes as the table of docs/reliability.md."""

from collections.abc import Sequence

from benchmarks.results import number
from torture.outcome import Outcome
from torture.registry import Scenario

HEADER = ("#", "test", "target", "injected", "survived", "lost", "met", "minutes")


def table(rows: Sequence[tuple[Scenario, Outcome, float]]) -> str:
    """A Markdown table, one row a scenario.

    Args:
        rows: each scenario, its outcome over all parts, and the seconds that these took.
    """
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "-|" * len(HEADER)]
    for scenario, outcome, seconds in rows:
        figures = "".join(f"; {name} {number(value)}" for name, value in sorted(outcome.figures.items()))
        cells = (
            str(scenario.number),
            f"{scenario.title} (`{scenario.name}`)",
            scenario.target,
            f"{outcome.injected:,}{figures}",
            f"{outcome.survived:,}",
            f"{len(outcome.lost):,}",
            verdict(outcome),
            f"{seconds / 60:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdict(outcome: Outcome) -> str:
    """`yes`; `NO` where anything was lost; `not shown` where something could not be tried here."""
    if outcome.lost or outcome.survived != outcome.injected:
        return "NO"
    return "not shown" if outcome.not_run or not outcome.injected else "yes"

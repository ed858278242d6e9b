"""Counts of injected faults, and the table of docs/reliability.md."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.results import number

HEADER = ("#", "test", "target", "injected", "survived", "lost", "met", "minutes")


@dataclass
class Faults:
    """The faults that one test, or all tests of one kind, injected.

    Attributes:
        injected: number of injected faults or tried cases.
        survived: how many of them met the target.
        lost: one line per other fault: the fault and its effect.
        measured: other quantities that the target limits, by name. See `measure`.
        not_tried: reasons why a fault could not be tried on this machine.
    """

    injected: int = 0
    survived: int = 0
    lost: list[str] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)
    not_tried: list[str] = field(default_factory=list)

    def count(self, fault: str, problem: str | None) -> None:
        """Count one fault: survived if `problem` is None, otherwise lost."""
        self.injected += 1
        if problem is None:
            self.survived += 1
        else:
            self.lost.append(f"{fault}: {problem}")

    def measure(self, name: str, value: float) -> None:
        """Add a measured value: the sum counts if the name starts with `number of`, otherwise the maximum."""
        value, known = float(value), self.measured.get(name)
        if known is not None:
            value = known + value if name.startswith("number of") else max(known, value)
        self.measured[name] = value

    def add(self, other: "Faults") -> None:
        """Add the counts of another test."""
        self.injected += other.injected
        self.survived += other.survived
        self.lost += other.lost
        self.not_tried += other.not_tried
        for name, value in other.measured.items():
            self.measure(name, value)

    @property
    def verdict(self) -> str:
        """`yes`, `NO` if a fault was lost, or `not shown` if a fault could not be tried."""
        if self.lost or self.survived != self.injected:
            return "NO"
        return "not shown" if self.not_tried or not self.injected else "yes"


@dataclass
class Kind:
    """All tests of one kind of fault: one file tests/robustness/test_<name>.py and one row of the table.

    Attributes:
        name: `kill` for test_kill.py.
        row: number of the row.
        title: what is injected.
        target: what must hold afterwards.
        faults: counts of all its tests.
        seconds: total duration of the tests.
    """

    name: str
    row: int = 0
    title: str = ""
    target: str = ""
    faults: Faults = field(default_factory=Faults)
    seconds: float = 0.0

    def add(self, faults: Faults, record: Mapping[str, Any]) -> None:
        """Add the counts of one test; `record` has its seconds and, unless it crashed, the attributes of its marker."""
        self.faults.add(faults)
        self.seconds += record["seconds"]
        self.row, self.title, self.target = (
            record.get("row", self.row), record.get("title", self.title), record.get("target", self.target),
        )  # fmt: skip


def table(kinds: Iterable[Kind]) -> str:
    """Return a Markdown table with one row per kind of fault."""
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "-|" * len(HEADER)]
    for kind in sorted(kinds, key=lambda kind: kind.row):
        faults = kind.faults
        measured = "".join(f"; {name}: {number(value)}" for name, value in sorted(faults.measured.items()))
        cells = (
            str(kind.row), f"{kind.title} (`{kind.name}`)", kind.target, f"{faults.injected:,}{measured}",
            f"{faults.survived:,}", f"{len(faults.lost):,}", faults.verdict, f"{kind.seconds / 60:.1f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)

"""What became of the faults that were injected."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Outcome:
    """Counts of one part of a scenario, or of several together.

    Attributes:
        injected: faults that were injected, or cases that were tried.
        survived: of them, those after which everything was as the target asks.
        lost: one line for each other one: what was injected and what came of it.
        figures: what else the target speaks of (a count, a greatest difference, bytes), by its words. Of several
            parts the greatest counts, unless the name begins with `number of`: those add up.
        not_run: why something could not be tried on this machine; empty where all was.
    """

    injected: int = 0
    survived: int = 0
    lost: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    not_run: list[str] = field(default_factory=list)

    def count(self, what: str, fault: str | None) -> None:
        """Notes one injected fault: survived where `fault` is None, else lost, with the words of `fault`."""
        self.injected += 1
        if fault is None:
            self.survived += 1
        else:
            self.lost.append(f"{what}: {fault}")

    def figure(self, name: str, value: float) -> None:
        """Notes a figure; see `figures` for what becomes of several of one name."""
        if name not in self.figures:
            self.figures[name] = value
        elif name.startswith("number of"):
            self.figures[name] += value
        else:
            self.figures[name] = max(self.figures[name], value)

    def add(self, other: "Outcome") -> None:
        """Takes in another part."""
        self.injected += other.injected
        self.survived += other.survived
        self.lost += other.lost
        self.not_run += other.not_run
        for name, value in other.figures.items():
            self.figure(name, value)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

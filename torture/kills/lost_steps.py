"""How much training a kill costs: how far behind the killed run the next one begins."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from torture.kills.forked import Event


@dataclass
class _Run:
    """One training run in one process: where it began, what it did, what of it is saved."""

    saved: int
    saved_at: float
    interval: float
    steps: list[tuple[int, float]] = field(default_factory=list)


class Progress:
    """Follows the training runs of one job through its processes.

    Attributes:
        most: the greatest number of steps that had to be done again.
    """

    def __init__(self) -> None:
        self.most = 0
        self._runs: dict[str, _Run] = {}

    def follow(self, told: Iterable[Event]) -> list[str]:
        """Takes in what one process told; gives what was lost before it and should not have been.

        A run goes on at the last finished checkpoint or at a later one, and of the steps that were done after the
        next checkpoint was due, at most the one that made it due is lost.
        """
        faults = []
        for event in told:
            name = event.get("name", "")
            if event["what"] == "trains":
                if name in self._runs:
                    faults += self._judge(name, self._runs[name], event["step"])
                self._runs[name] = _Run(event["step"], event["t"], event["interval"])
            elif event["what"] == "step":
                self._runs[name].steps.append((event["step"], event["t"]))
            elif event["what"] == "saved":
                self._runs[name].saved, self._runs[name].saved_at = event["step"], event["t"]
        return faults

    def _judge(self, name: str, run: _Run, begins: int) -> list[str]:
        if begins < run.saved:
            return [f"{name} went on at step {begins}, though step {run.saved} was saved"]
        lost = [at for step, at in run.steps if step > begins]
        self.most = max(self.most, len(lost))
        overdue = [at for at in lost if at >= run.saved_at + run.interval]
        if len(overdue) > 1:
            return [f"{name} lost {len(lost)} steps, {len(overdue)} of them done after a checkpoint was due"]
        return []

"""Learning curves of the candidates for a learning rate, in one W&B run."""

import math
from collections.abc import Sequence

from medtune.config.training import TrainingParams
from medtune.tracking.run import Run


class CandidateCurves:
    """Logs each candidate's curves while it trains, and those of the chosen one under the usual names at the end.

    With one candidate the usual names are used at once. With several they carry `lr-<rate>/`. The steps of a run may
    not fall, so the steps of a candidate follow those of the one before.
    """

    def __init__(self, run: Run, stage: str, rates: Sequence[float], params: TrainingParams, images: int) -> None:
        """Prepare the curves of a stage that trains on `images` images."""
        self.run, self.stage, self.rates = run, stage, rates
        per_epoch = math.ceil(
            images * params.passes_over(images) / (params.batch_size * params.gradient_accumulation_steps)
        )
        self.stride = per_epoch * params.epochs + 1

    def step(self, number: int, step: int, values: dict[str, float]) -> None:
        """Log values of a training step of candidate `number`."""
        self.run.log(self._named(number, values), number * self.stride + step)

    def epoch(self, number: int, step: int, values: dict[str, float]) -> None:
        """Log values of an epoch of candidate `number`."""
        # A chart over `frozen/epoch` shows the runs that have it: those of stage 1.
        self.step(number, step, {**values, f"{self.stage}/epoch": values["epoch"]})

    def chosen(self, history: Sequence[dict[str, float]]) -> None:
        """Log the chosen candidate's epochs under the usual names."""
        if len(self.rates) > 1:
            for row in history:
                values = {name: value for name, value in row.items() if not math.isnan(value)}
                step = int(len(self.rates) * self.stride + row["step"])
                self.run.log({**values, f"{self.stage}/epoch": row["epoch"]}, step)

    def _named(self, number: int, values: dict[str, float]) -> dict[str, float]:
        if len(self.rates) == 1:
            return values
        return {f"lr-{self.rates[number]:g}/{name}": value for name, value in values.items()}

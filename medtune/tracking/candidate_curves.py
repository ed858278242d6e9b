"""Learning curves of all candidate learning rates in one W&B run."""

import math
from collections.abc import Sequence

from medtune.config.training import TrainingParams
from medtune.tracking.run import Run


class CandidateCurves:
    """Learning curves of every candidate, and those of the chosen candidate under the standard names.

    With a single candidate, all values have the standard names, such as `val/loss`. With several candidates, the values
    of training have names such as `lr-0.01/val/loss`. The curves of the chosen candidate are logged again under the
    standard names. W&B requires steps that never decrease. The steps of each candidate therefore follow those of the
    previous candidate.
    """

    def __init__(self, run: Run, stage: str, rates: Sequence[float], params: TrainingParams, images: int) -> None:
        """Reserve a range of steps for each candidate.

        Args:
            run: W&B run of the stage.
            stage: `frozen` or `finetune`.
            rates: candidate learning rates.
            params: training section of the stage.
            images: number of training images.
        """
        self.run, self.stage, self.rates = run, stage, rates
        per_epoch = math.ceil(
            images * params.repeats_for(images) / (params.batch_size * params.gradient_accumulation_steps)
        )
        self.stride = per_epoch * params.epochs + 1

    def step(self, number: int, step: int, values: dict[str, float]) -> None:
        """Log the values of one training step of the candidate with the position `number` in `rates`."""
        self.run.log(self._named(number, values), number * self.stride + step)

    def epoch(self, number: int, step: int, values: dict[str, float]) -> None:
        """Log the values of one epoch of the candidate with the position `number` in `rates`."""
        # W&B draws a chart over `frozen/epoch` only for runs that log this key, which are those of stage 1.
        self.step(number, step, {**values, f"{self.stage}/epoch": values["epoch"]})

    def chosen(self, history: Sequence[dict[str, float]]) -> None:
        """Log the epochs of the chosen candidate under the standard names, unless it is the only candidate."""
        if len(self.rates) > 1:
            for row in history:
                values = {name: value for name, value in row.items() if not math.isnan(value)}
                step = int(len(self.rates) * self.stride + row["step"])
                self.run.log({**values, f"{self.stage}/epoch": row["epoch"]}, step)

    def _named(self, number: int, values: dict[str, float]) -> dict[str, float]:
        if len(self.rates) == 1:
            return values
        return {f"lr-{self.rates[number]:g}/{name}": value for name, value in values.items()}

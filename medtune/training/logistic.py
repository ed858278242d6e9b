"""L2-regularized linear head on stored features, solved to its optimum by L-BFGS.

The problem is that of scikit-learn's multinomial LogisticRegression, but with the loss of any task:

    minimize over W, b:  |W|^2 / 2 + C * sum_i w_i * loss(W z_i + b, y_i),   mean of w_i = 1.

w_i is the weight of image i, and z = (x - mean) / s are its centered and scaled features. All channels have the same
scale s, the square root of the total variance of x. The mean of |z|^2 is then 1, and one value of C suits backbones of
any width. A scale per channel would amplify channels with little variation, such as those of rarely active ReLUs
(docs/log.md has the comparison). The returned solution applies to the unscaled features x.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medtune.config.errors import RunError
from medtune.tasks.base import Objective
from medtune.training.feature_store import FeatureStore

CHUNK = 4096  # largest number of images that are processed together
IN_MEMORY_BYTES = 2_000_000_000  # larger features are read again in every iteration
MAX_ITERATIONS = 2000
TOLERANCE = 1e-7  # of the gradient of the mean loss


@dataclass(frozen=True)
class LinearSolution:
    """Optimum on unscaled features.

    Attributes:
        weight: (outputs, D) float32.
        bias: (outputs,) float32.
        iterations: number of L-BFGS iterations.
        loss: mean weighted loss of the training images, without the penalty.
    """

    weight: Tensor
    bias: Tensor
    iterations: int
    loss: float

    def state_dict(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Return the state dict of a head whose only parameters are `names`, weight and bias in this order."""
        return dict(zip(names, (self.weight, self.bias), strict=True))


class FeatureProblem:
    """Training problem on stored features, for any C. The weight of an image is divided equally among its views."""

    def __init__(
        self,
        store: FeatureStore,
        rows: np.ndarray,
        targets: np.ndarray,
        objective: Objective,
        outputs: int,
        device: torch.device,
    ) -> None:
        """Compute the mean and the scale of the features.

        Args:
            store: features (n, 1, D) in one or more views.
            rows: (m,) indices of training images, stored in all views.
            targets: (n, ...) targets of the complete data set.
            objective: loss of the task.
            outputs: number of outputs of the head.
            device: torch device of the loss.
        """
        self.store, self.rows, self.targets, self.outputs, self.device = store, rows, targets, outputs, device
        self.objective = objective.to(device)
        self.total = objective.total(self._target(rows).cpu())
        count = len(rows) * store.views
        total = square = torch.zeros((), dtype=torch.float64, device=device)
        for _, x in self._stored():
            total = total + x.sum(0)
        self.mean = total / count
        for _, x in self._stored():
            square = square + (x - self.mean).square().sum()
        self.scale = float((square / count).sqrt()) or 1.0
        fits_in_memory = count * self.mean.numel() * 8 <= IN_MEMORY_BYTES
        self._chunks = list(self._scaled()) if fits_in_memory else None

    def solve(self, strength: float, start: LinearSolution | None = None) -> LinearSolution:
        """Find the optimum.

        Args:
            strength: C.
            start: solution for another C, from which the solver starts.

        Returns:
            The optimum.

        Raises:
            RunError: L-BFGS did not converge to finite values.
        """
        weight = self.mean.new_zeros(self.outputs, self.mean.numel())
        bias = self.mean.new_zeros(self.outputs)
        if start is not None:
            initial = start.weight.to(self.mean)
            weight, bias = initial * self.scale, start.bias.to(self.mean) + initial @ self.mean
        weight.requires_grad_(True)
        bias.requires_grad_(True)
        solver = torch.optim.LBFGS(
            [weight, bias],
            max_iter=MAX_ITERATIONS,
            tolerance_grad=TOLERANCE,
            tolerance_change=0.0,
            history_size=20,
            line_search_fn="strong_wolfe",
        )
        # If the loss is a mean over findings, the penalty must be a mean too.
        terms = self.objective.averaged_terms(self.outputs)
        penalty = 1 / (2 * strength * len(self.rows) * terms)

        def closure() -> float:
            solver.zero_grad()
            value = 0.0
            for target, z in self._chunks or self._scaled():
                loss = self.objective.loss(z @ weight.T + bias, target) / (self.total * self.store.views)
                loss.backward()  # type: ignore[no-untyped-call]
                value += float(loss.detach())
            self.loss = value
            regularizer = penalty * weight.square().sum()
            regularizer.backward()  # type: ignore[no-untyped-call]
            return value + float(regularizer.detach())

        solver.step(closure)  # type: ignore[no-untyped-call]
        closure()
        weight, bias = weight.detach(), bias.detach()
        if not (weight.isfinite().all() and bias.isfinite().all()):
            raise RunError(f"model.head.C={strength:g}: the solver did not converge. Use a smaller value.")
        unscaled = weight / self.scale
        shifted = bias - unscaled @ self.mean
        iterations = int(solver.state[solver._params[0]]["n_iter"])
        return LinearSolution(unscaled.float().cpu(), shifted.float().cpu(), iterations, self.loss)

    def _stored(self) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield image indices and their features (B, D), view by view."""
        for view in range(self.store.views):
            for start in range(0, len(self.rows), CHUNK):
                rows = self.rows[start : start + CHUNK]
                x = self.store.fetch(rows, np.full(len(rows), view))
                yield rows, x.to(self.device).double().flatten(1)

    def _scaled(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield targets (B, ...) and centered and scaled features (B, D)."""
        for rows, x in self._stored():
            yield self._target(rows), (x - self.mean) / self.scale

    def _target(self, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.targets[rows])).to(self.device)

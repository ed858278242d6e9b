"""Interface of a parity check, which compares the outputs of an exported graph with those of the trained networks."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from medtune.config.schema import ExportParams
from medtune.tasks import base

Predict = Callable[[np.ndarray], np.ndarray]


class Check(Protocol):
    """Inputs with the outputs of the trained networks."""

    @property
    def images(self) -> np.ndarray:
        """(n, ...) inputs for the comparison: images, or windows (parts of volumes)."""

    @property
    def task(self) -> base.Export:
        """Export functions of the task."""

    @property
    def scale(self) -> float:
        """Factor for the tolerances: 1 for outputs from 0 to 1, otherwise larger."""

    def samples(self, n: int) -> np.ndarray:
        """Return at most `n` of the inputs. The bundle contains them for its self-test."""

    def subset(self, n: int) -> "Check":
        """Return a check with at most `n` of the inputs."""

    def evaluate(self, predict: Predict, precision: str, params: ExportParams) -> tuple[dict[str, Any], str | None]:
        """Check an exported model.

        Args:
            predict: exported model, from its input (b, ...) to the result of `stack_outputs`.
            precision: fp32, fp16 or int8.
            params: section `export` of the params.

        Returns:
            Parity metrics, and the reason why the precision must not be shipped; None if it passes.
        """

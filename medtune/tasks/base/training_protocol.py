"""What data and training need of a task: its targets, its network and its loss."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from medtune.config.data import DataParams
from medtune.config.schema import Params
from medtune.config.training import TrainingParams

if TYPE_CHECKING:
    from torch import Tensor

    from medtune.data.manifest import PreparedDataset
    from medtune.data.sample import Sample
    from medtune.models.classifier import Classifier

Move = Callable[["Tensor"], "Tensor"]


class Targets(Protocol):
    """The target of each image. A record's `label` is its class, or what splits balance in a task without classes."""

    MIN_CLASSES: int
    """Fewest labels that a data set and each training split must contain."""

    HAS_POSITIVE: bool
    """Where there are two labels, one is the positive class: `data.positive`, with index 1."""

    def check(self, samples: "Sequence[Sample]") -> None:
        """Refuse records whose targets are unusable, before images are decoded.

        Raises:
            InputError: names the record and what is wrong with its target.
        """

    def encode(self, sample: "Sample", data: DataParams) -> np.ndarray | None:
        """Target of one record at the packed image size, of one shape and dtype for all; None: its label's index."""


class Objective(Protocol):
    """What one training run minimizes and is scored by. B is a batch, n the validation set."""

    def to(self, device: Any) -> "Objective":
        """Objective with its tensors on `device`."""

    def augment(self, target: "Tensor", move: Move) -> "Tensor":
        """Targets (B, ...) of randomly varied images.

        Args:
            target: of the images as stored.
            move: applies the images' geometry to (B, C, H, W), with nearest-neighbor sampling.
        """

    def averaged_terms(self, n_outputs: int) -> int:
        """Number of independent terms, such as findings, that the loss of one image averages over."""

    def total(self, target: "Tensor") -> float:
        """Weight of a step: what its summed loss is divided by. `target`: (rows, ...) on the CPU."""

    def loss(self, output: "Tensor", target: "Tensor") -> "Tensor":
        """Weighted loss () summed over a batch.

        Args:
            output: (B, ...) of the network, float32.
            target: (B, ...) on the same device.
        """

    def summarize(self, output: "Tensor", target: "Tensor") -> "Tensor":
        """What scoring needs of each validation image, (B, k) float32: the output, or sums over its pixels."""

    def score(self, summary: "Tensor", target: "Tensor") -> dict[str, float]:
        """Validation scores.

        Args:
            summary: (n, k) rows of `summarize`.
            target: (n, ...) on the same device.

        Returns:
            `loss` and the metrics of each epoch by name; NaN where undefined.
        """


class Training(Protocol):
    """How the network is built and trained."""

    def n_outputs(self, prepared: "PreparedDataset") -> int:
        """Output size of the head."""

    def build(self, params: Params, n_outputs: int, load_weights: bool = True) -> "Classifier":
        """Network from params; `load_weights=False` leaves the backbone random."""

    def objective(
        self, params: Params, section: TrainingParams, prepared: "PreparedDataset", train: np.ndarray
    ) -> Objective:
        """Objective of one training run; `train`: rows that it trains on."""

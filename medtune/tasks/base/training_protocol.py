"""Protocols for the parts of a task that data and training use: targets, network and loss."""

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

SpatialTransform = Callable[["Tensor"], "Tensor"]


class Targets(Protocol):
    """Target of each image.

    A sample's `label` is its class. In a task without classes, the label is the stratum that the splits balance.
    """

    MIN_CLASSES: int
    """Smallest number of distinct labels in the dataset and in each training split."""

    HAS_POSITIVE: bool
    """True if one of two classes is the positive class. Its name is `data.positive` and its index is 1."""

    def check(self, samples: "Sequence[Sample]") -> None:
        """Check the targets before images are decoded.

        Args:
            samples: all samples of the dataset.

        Raises:
            InputError: a sample has an unusable target. The message names the sample and the problem.
        """

    def encode(self, sample: "Sample", data: DataParams) -> np.ndarray | None:
        """Return the target of one sample.

        Args:
            sample: the sample.
            data: section `data` of the params.

        Returns:
            The target at the packed image size, with the same shape and dtype for all samples. None if the target is
            the label's index.
        """


class Objective(Protocol):
    """Loss and validation scores of one training run. B is the batch size, n the number of validation images."""

    def to(self, device: Any) -> "Objective":
        """Return the objective with its tensors on `device`."""

    def augment(self, target: "Tensor", transform: SpatialTransform) -> "Tensor":
        """Return the targets of augmented images.

        Args:
            target: (B, ...) targets of the stored images.
            transform: applies the geometry of the augmented images to (B, C, H, W), with nearest-neighbor sampling.

        Returns:
            (B, ...) targets.
        """

    def averaged_terms(self, n_outputs: int) -> int:
        """Return the number of independent terms, such as findings, over which the loss of an image averages."""

    def total(self, target: "Tensor") -> float:
        """Return the total weight by which a step divides its summed loss; `target` is (images, ...) on the CPU."""

    def loss(self, output: "Tensor", target: "Tensor") -> "Tensor":
        """Compute the weighted loss, summed over a batch.

        Args:
            output: (B, ...) float32 output of the network.
            target: (B, ...) targets on the same device.

        Returns:
            The loss, a scalar tensor.
        """

    def summarize(self, output: "Tensor", target: "Tensor") -> "Tensor":
        """Return the input of `score` for each validation image.

        Args:
            output: (B, ...) float32 output of the network.
            target: (B, ...) targets on the same device.

        Returns:
            (B, k) float32: the output itself, or sums over the pixels of an image.
        """

    def score(self, summary: "Tensor", target: "Tensor") -> dict[str, float]:
        """Compute the validation scores.

        Args:
            summary: (n, k) concatenated results of `summarize`.
            target: (n, ...) targets on the same device.

        Returns:
            `loss` and the per-epoch metrics by name; NaN where undefined.
        """


class Training(Protocol):
    """Network and objective of a task.

    A task may also define `frozen_inputs` and `finetune_inputs` (see `medtune.training.stage_inputs.StageInputs`).
    """

    def layout(self, prepared: "PreparedDataset") -> Any:
        """Return the sizes that the network takes from the data, as a JSON value.

        Args:
            prepared: prepared dataset.

        Returns:
            The number of outputs of the head, or a mapping with several sizes.
        """

    def build(self, params: Params, layout: Any, load_weights: bool = True) -> Any:
        """Build the network.

        Args:
            params: all params.
            layout: result of `layout`, possibly read from result.json.
            load_weights: False leaves the backbone random, if a state dict is loaded later.

        Returns:
            A `medtune.models.network.Network` in eval mode. Tasks of images return its subclass `Classifier`.
        """

    def objective(
        self, params: Params, section: TrainingParams, prepared: "PreparedDataset", train: np.ndarray
    ) -> Objective:
        """Build the objective of one training run; `train` are the row indices of its training images."""

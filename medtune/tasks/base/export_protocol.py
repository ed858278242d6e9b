"""Protocol for the part of a task that export uses."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from medtune.config.schema import ExportParams

if TYPE_CHECKING:
    from torch import nn

    from medtune.data.manifest import PreparedDataset


class Export(Protocol):
    """Exported network, and its comparison with the trained network (parity check).

    A trial export before training calls `output_layer` with `EXAMPLE_FOLD`, an example of a fold's entry in
    result.json. A task without `EXAMPLE_FOLD` gets an empty entry.

    A task of volumes defines `INPUT = "volumes"`. The networks of this task read normalized windows (B, C, X, Y, Z).
    The parity check calls `compare_volumes(prepared, rows, reference, labels) -> dict` with the label maps of complete
    volumes.

    A task may define `decision_layer(document) -> nn.Module | None`. The layer maps the final output (B, ...) to the
    decision (B, ...) int64, which becomes the graph's second output. `document` is the content of bundle.json so far.
    """

    def output_layer(self, fold: Mapping[str, Any]) -> "nn.Module":
        """Build the post-processing of a fold, from logits (B, ...) to the final output in float32.

        Args:
            fold: the fold's entry in result.json, from `FoldResult.record`.

        Returns:
            The module.
        """

    def describe(
        self, prepared: "PreparedDataset", folds: Sequence[Mapping[str, Any]], decision: Mapping[str, Any], size: int
    ) -> dict[str, Any]:
        """Describe the output for bundle.json.

        Args:
            prepared: prepared dataset.
            folds: entries of result.json, one per member network.
            decision: result of `Evaluation.choose_decision`.
            size: side of the images in pixels.

        Returns:
            `output` with name, dtype and shape, and the fields that `serving` reads.
        """

    def agreement(
        self,
        reference: np.ndarray,
        output: np.ndarray,
        target: np.ndarray,
        document: Mapping[str, Any],
        tolerance: float,
    ) -> dict[str, Any]:
        """Compare the outputs of an exported model with those of the trained network.

        Args:
            reference: (n, ...) outputs of the trained network in eager fp32.
            output: (n, ...) outputs of the exported model.
            target: (n, ...) targets.
            document: content of bundle.json so far.
            tolerance: differences up to this value are rounding errors.

        Returns:
            Parity measurements as JSON values.
        """

    def rejection_reason(self, parity: Mapping[str, Any], precision: str, params: ExportParams) -> str | None:
        """Return why the model in a precision must not be part of the bundle, or None if it may.

        The caller already checks how far the outputs differ.

        Args:
            parity: result of `agreement`, and `images`, the number of compared images.
            precision: `fp32`, `fp16` or `int8`.
            params: section `export` of the params.

        Returns:
            The reason, or None.
        """

    def losses(self, parity: Mapping[str, Any]) -> dict[str, float]:
        """Return how far metrics of the exported model are below those of the trained network, by name of the drop."""

    def agrees(self, parity: Mapping[str, Any]) -> float:
        """Return the fraction of images, 0..1, on which the exported model agrees with the trained network."""

    def card(self, document: Mapping[str, Any]) -> dict[str, str]:
        """Return the texts of the model card.

        Args:
            document: content of bundle.json.

        Returns:
            `purpose`, `decision` and `calibration` have sentences and may be empty. `inside` names the operations of
            the graph besides the network. `output` describes the outputs. `agreement` is the column title for `agrees`.
            `limits` has list items.
        """

"""What export needs of a task."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from medtune.config.schema import ExportParams

if TYPE_CHECKING:
    from torch import nn

    from medtune.data.manifest import PreparedDataset


class Export(Protocol):
    """The network as consumers get it.

    May define `EXAMPLE_FOLD`: a fold's record with which a network is exported before training, to see whether it can
    be; empty where `output_layer` reads none. May define `decision_layer(document) -> nn.Module | None`: from the final
    output (B, ...) to the decision (B, ...) int64 as the graph's second output; `document` is bundle.json so far.
    """

    def output_layer(self, fold: Mapping[str, Any]) -> "nn.Module":
        """From a network's logits (B, ...) to its final output, as float32: the fold's post-processing.

        Args:
            fold: result.json's entry of the fold: what `FoldResult.record` gave.
        """

    def describe(
        self, prepared: "PreparedDataset", folds: Sequence[Mapping[str, Any]], decision: Mapping[str, Any], size: int
    ) -> dict[str, Any]:
        """The task's part of bundle.json: `output` with name, dtype and shape, and what `serving` reads.

        Args:
            folds: entries of result.json of the members.
            decision: what `Evaluation.choose_decision` gave.
            size: side of the images, pixels.
        """

    def agreement(
        self,
        reference: np.ndarray,
        found: np.ndarray,
        target: np.ndarray,
        document: Mapping[str, Any],
        tolerance: float,
    ) -> dict[str, Any]:
        """Compare the outputs (n, ...) of an exported model with the network's, as JSON values."""

    def rejection_reason(self, figures: Mapping[str, Any], precision: str, params: ExportParams) -> str | None:
        """Why a precision with these figures must not be shipped, beyond outputs that differ too much; None: it may."""

    def losses(self, figures: Mapping[str, Any]) -> dict[str, float]:
        """What a precision loses against the network, by name."""

    def agrees(self, figures: Mapping[str, Any]) -> float:
        """Share of images, 0..1, on which a precision agrees with the network: the model card's `agreement` column."""

    def card(self, document: Mapping[str, Any]) -> dict[str, str]:
        """Texts of the model card.

        Returns:
            `purpose`, `decision` and `calibration` (sentences, may be empty), `inside` (what the graph does besides
            the network), `output` (what it gives), `agreement` (title of `agrees`), `limits` (list items).
        """

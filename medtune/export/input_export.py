"""Interface of the steps of the export that depend on the input: images or volumes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from medtune.config.schema import Params
from medtune.export.graph_input import GraphInput
from medtune.runtime.artifact import Artifact
from medtune.tasks import base

if TYPE_CHECKING:
    import onnxruntime
    from torch import nn

    from medtune.data.manifest import PreparedDataset
    from medtune.export.check import Check
    from medtune.export.ensemble import Member


class LoadedBundle(Protocol):
    """A bundle for images or for volumes."""

    def run(self, inputs: np.ndarray, /) -> np.ndarray:
        """Run the model on inputs (n, ...)."""

    def self_test(self) -> float:
        """Run the sample input of the bundle, and return the largest difference from its sample output."""


class InputExport(Protocol):
    """Steps of one export: input of the graph, exported module, parity check, calibration and bundle."""

    @property
    def source(self) -> GraphInput:
        """Input of the graph."""

    def fields(self, folds: Sequence[int], decision: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entries of bundle.json that describe the input.

        Args:
            folds: test folds of the networks.
            decision: decision rule of the model, from stage evaluate.

        Returns:
            JSON values by entry.
        """

    def combine(self, members: "Sequence[Member]", document: Mapping[str, Any]) -> "nn.Module":
        """Combine the trained networks to the exported module.

        The attribute `names` of the module contains the names of its outputs, and `description` a phrase for messages.
        """

    def check(self, model: "nn.Module", tested: Sequence[int], document: dict[str, Any]) -> "Check":
        """Return the parity check of the exported module on the test data of the folds `tested`."""

    def calibration(self, folds: Sequence[int]) -> np.ndarray:
        """Return training inputs (n, ...) for the calibration of int8.

        Raises:
            ValueError: int8 is not supported.
        """

    def open(self, folder: Path, document: dict[str, Any], session: "onnxruntime.InferenceSession") -> LoadedBundle:
        """Return the bundle of an open fp32 session. Its files, which may be incomplete, are not verified."""

    def load(self, folder: Path, precision: str) -> LoadedBundle:
        """Load a finished bundle and verify its files."""

    def compare_predictions(
        self, check: "Check", bundle: LoadedBundle, folds: Sequence[int], evaluated: Artifact
    ) -> dict[str, Any] | None:
        """Compare the bundle with the predictions of stage evaluate.

        Args:
            check: result of `check`.
            bundle: result of `open`.
            folds: test fold of each network.
            evaluated: artifact of stage evaluate.

        Returns:
            JSON values, or None if nothing was compared.

        Raises:
            RuntimeError: a difference is too large.
        """


def input_export(
    params: Params, prepared: "PreparedDataset", networks: Sequence[Any], evaluated: Path | None = None
) -> InputExport:
    """Return the parts for the task's kind of input.

    Args:
        params: all params.
        prepared: the prepared data.
        networks: trained networks.
        evaluated: folder of stage evaluate.

    Returns:
        The parts.
    """
    if getattr(base.export(params.task.kind), "INPUT", "images") == "volumes":
        from medtune.export.volume_export import VolumeExport

        return VolumeExport(params, prepared, evaluated)
    from medtune.export.image_export import ImageExport

    return ImageExport(params, prepared, networks[0].mean.tolist(), networks[0].std.tolist())

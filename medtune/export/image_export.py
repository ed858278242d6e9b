"""Steps of the export that differ for images (see `medtune.export.input_export`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import Params
from medtune.evaluation.cross_validation import PREDICTIONS_FILE
from medtune.export import graph_input
from medtune.export.ensemble import Ensemble, Member
from medtune.export.parity import stratified_sample
from medtune.export.parity_check import ParityCheck
from medtune.runtime.artifact import Artifact
from medtune.runtime.device import device_class
from medtune.serving.bundle import Bundle
from medtune.serving.intensity import Intensity
from medtune.serving.members import MEMBERS
from medtune.tasks import base

if TYPE_CHECKING:
    import onnxruntime

    from medtune.data.manifest import PreparedDataset

# Largest allowed difference between the bundle and the predictions of stage evaluate, by device. A GPU sums in another
# order.
PREDICTION_TOLERANCE = {"cpu": 1e-4}
GPU_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ImageExport:
    """Steps of the export for images; see `medtune.export.input_export.InputExport`.

    Attributes:
        params: all params.
        prepared: the prepared data.
        mean: mean per channel with which the network normalizes images that are scaled to 0..1.
        std: standard deviation per channel for the same normalization.
    """

    params: Params
    prepared: "PreparedDataset"
    mean: list[float]
    std: list[float]

    @property
    def source(self) -> graph_input.GraphInput:
        """Input of the graph: square RGB images."""
        return graph_input.images(self.params.data.image_size)

    def fields(self, folds: Sequence[int], decision: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entries `input` and `preprocessing` of bundle.json."""
        size = self.params.data.image_size
        mean, std = ([round(value, 6) for value in values] for values in (self.mean, self.std))
        return {
            "input": {"name": graph_input.IMAGES, "dtype": "uint8", "layout": "NHWC", "colour": "RGB",
                      "shape": ["N", size, size, 3]},
            "preprocessing": {
                "image_size": size,
                "resize": self.params.data.resize,
                "interpolation": "bicubic",
                "antialias": True,
                "before_the_graph": ["decode", "orient", "resize", "intensity"],
                "intensity": Intensity.from_document(self.prepared.info.get("intensity")).document(),
                "scale": 1 / 255,
                "mean": mean,
                "std": std,
                "inside_the_graph": ["scale", "mean", "std"],
            },
        }  # fmt: skip

    def combine(self, members: Sequence[Member], document: Mapping[str, Any]) -> Ensemble:
        """Return the ensemble with the decision layer of the task."""
        decision_layer = getattr(base.export(self.params.task.kind), "decision_layer", None)
        name = document["output"]["name"]
        return Ensemble(
            members, None if name == MEMBERS else name, decision_layer(document) if decision_layer else None
        )

    def check(self, model: Any, tested: Sequence[int], document: dict[str, Any]) -> ParityCheck:
        """Return the parity check on test images."""
        return ParityCheck.build(model, self.prepared, tested, document, self.params.export.parity_images)

    def calibration(self, folds: Sequence[int]) -> np.ndarray:
        """Return training images for the calibration of int8; see the function `calibration`."""
        return calibration(self.params, self.prepared, folds)

    def open(self, folder: Path, document: dict[str, Any], session: "onnxruntime.InferenceSession") -> Bundle:
        """Return a bundle that runs the fp32 session."""
        return Bundle(folder, document, "fp32", session)

    def load(self, folder: Path, precision: str) -> Bundle:
        """Load a finished bundle."""
        return Bundle.load(folder, precision)

    def compare_predictions(
        self, check: Any, bundle: Any, folds: Sequence[int], evaluated: Artifact
    ) -> dict[str, Any] | None:
        """Compare each network of the bundle with the predictions of stage evaluate for its test images."""
        predictions = evaluated.folder / PREDICTIONS_FILE
        result: dict[str, Any] = check.compare_with_predictions(
            bundle.run_members,
            folds,
            predictions if predictions.exists() else evaluated.folder / "predictions.csv",
            PREDICTION_TOLERANCE.get(device_class(), GPU_TOLERANCE),
        )
        return result


def calibration(params: Params, prepared: "PreparedDataset", folds: Sequence[int]) -> np.ndarray:
    """Select random training images for the calibration of int8, balanced over the classes.

    Args:
        params: all params.
        prepared: the prepared data.
        folds: test folds of the exported networks.

    Returns:
        Images, uint8 (n, H, W, 3).
    """
    indices = np.unique(np.concatenate([prepared.indices(fold)["train"] for fold in folds]))
    train = np.random.default_rng(params.seed).permutation(indices)
    return np.ascontiguousarray(
        prepared.images[stratified_sample(prepared.labels, train, params.export.calibration_images)]
    )

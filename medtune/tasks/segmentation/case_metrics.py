"""Metrics of one volume and one label: overlap, surface distance and volume error on the original grid.

docs/segmentation_metrics.md explains the conventions for empty masks. An undefined metric is NaN, and averages exclude
its volume. This module must not import torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medtune.tasks.segmentation.surface import Bools, Floats, surface_distances

Outcome = Literal["both", "both empty", "missed", "spurious"]
ML_PER_MM3 = 1e-3
NAN = float("nan")


@dataclass(frozen=True)
class LabelMetrics:
    """Metrics of one label in one volume, NaN where undefined.

    Attributes:
        label: name of the label.
        truth_ml: size of the label in the truth, in ml.
        prediction_ml: size of the label in the prediction, in ml.
        dice: 2 TP / (2 TP + FP + FN), 1 if both masks are empty.
        sensitivity: TP / (TP + FN), undefined if the truth is empty.
        precision: TP / (TP + FP), undefined if the prediction is empty.
        nsd: normalized surface distance, 1 if both masks are empty, and 0 if only one is empty.
        hd95: 95th percentile Hausdorff distance in mm. It is undefined if both masks are empty. If only one is empty,
            it is the diagonal of the volume.
    """

    label: str
    truth_ml: float
    prediction_ml: float
    dice: float
    sensitivity: float
    precision: float
    nsd: float
    hd95: float

    @property
    def volume_error(self) -> float:
        """Size of the prediction minus size of the truth, in ml."""
        return self.prediction_ml - self.truth_ml

    @property
    def volume_error_percent(self) -> float:
        """Volume error as a percentage of the truth; NaN if the truth is empty."""
        return 100 * self.volume_error / self.truth_ml if self.truth_ml else NAN

    @property
    def outcome(self) -> Outcome:
        """`both` masks have the label, only the truth (`missed`), only the prediction (`spurious`), or `both empty`."""
        if self.truth_ml and self.prediction_ml:
            return "both"
        return "missed" if self.truth_ml else "spurious" if self.prediction_ml else "both empty"


def case_metrics(
    truth: npt.NDArray[Any],
    prediction: npt.NDArray[Any],
    spacing: Sequence[float],
    labels: Mapping[str, int],
    tolerance: float | Mapping[str, float] = 1.0,
    distances: bool = True,
) -> tuple[LabelMetrics, ...]:
    """Compute the metrics of all labels of a volume.

    Args:
        truth: (X, Y, Z) true mask of integers, 0 for the background.
        prediction: (X, Y, Z) predicted mask on the same grid.
        spacing: (3,) distance between voxel centers along each axis in mm.
        labels: value of each label in the masks, by name, without the background.
        tolerance: tolerance of the normalized surface distance in mm, or one per label.
        distances: False to skip the surface distances, which take most of the time. `nsd` and `hd95` are then NaN.

    Returns:
        Metrics of each label, in the order of `labels`.

    Raises:
        ValueError: the masks are not on the same grid or not integers, a mask contains an unknown label, or a spacing
            or tolerance is invalid.
    """
    _check_masks(truth, prediction, labels)
    size = np.asarray(spacing, np.float64)
    if size.shape != (3,) or not (np.isfinite(size) & (size > 0)).all():
        raise ValueError(f"spacing {list(spacing)}: three positive numbers in mm are needed")
    within = {name: tolerance.get(name, NAN) if isinstance(tolerance, Mapping) else tolerance for name in labels}
    for name, limit in within.items():
        if not (np.isfinite(limit) and limit >= 0):
            raise ValueError(f"tolerance {limit} of label {name}: a number of mm, 0 or more, is needed")
    return tuple(
        _label_metrics(name, truth == value, prediction == value, size, within[name], distances)
        for name, value in labels.items()
    )


def _label_metrics(
    label: str, truth: Bools, prediction: Bools, spacing: Floats, tolerance: float, distances: bool
) -> LabelMetrics:
    """Compute the metrics of one label from its boolean masks; `tolerance` in mm."""
    actual, predicted = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    correct = int(np.count_nonzero(truth & prediction))
    nsd = hd95 = NAN
    if distances and actual and predicted:
        between = surface_distances(truth, prediction, spacing.tolist())
        nsd, hd95 = between.normalized(tolerance), between.hd95()
    elif distances and (actual or predicted):
        nsd, hd95 = 0.0, float(np.linalg.norm(np.array(truth.shape) * spacing))
    elif distances:
        nsd = 1.0
    voxel_ml = float(np.prod(spacing)) * ML_PER_MM3
    return LabelMetrics(
        label,
        actual * voxel_ml,
        predicted * voxel_ml,
        2 * correct / (actual + predicted) if actual or predicted else 1.0,
        correct / actual if actual else NAN,
        correct / predicted if predicted else NAN,
        nsd,
        hd95,
    )


def _check_masks(truth: npt.NDArray[Any], prediction: npt.NDArray[Any], labels: Mapping[str, int]) -> None:
    """Raise ValueError as `case_metrics` for invalid masks or labels."""
    if truth.ndim != 3 or truth.shape != prediction.shape:
        raise ValueError(f"masks of shapes {truth.shape} and {prediction.shape}: one shape (X, Y, Z) is needed")
    if not truth.size:
        raise ValueError(f"masks of shape {truth.shape} contain no voxels")
    if len(set(labels.values()) - {0}) < len(labels) or not labels:
        raise ValueError(f"labels {dict(labels)}: different values other than 0, the background, are needed")
    for kind, mask in (("true", truth), ("predicted", prediction)):
        if not np.issubdtype(mask.dtype, np.integer):
            raise ValueError(f"{kind} mask of type {mask.dtype}: integers are needed")
        known = np.isin(mask, [0, *labels.values()])
        if not known.all():
            raise ValueError(f"{kind} mask: unknown label {mask[~known][0]}")

"""Segmentation of one volume, from the values of its file to a label map on its grid.

Stage data, stage evaluate and a bundle run the same functions, so that they agree voxel by voxel. Volumes are
normalized, resampled to the spacing of the training volumes, predicted in windows and resampled back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from medtune.serving.field_error import FieldError
from medtune.serving.volumes import components
from medtune.serving.volumes.confidence import confidence
from medtune.serving.volumes.label_resampling import LabelResampler
from medtune.serving.volumes.resampling import Shape, Spacing, resample_image, resampled_shape, thick_axis
from medtune.serving.volumes.sliding_window import OnProgress, OnSlab, Run, mirrored, predict_slabs
from medtune.serving.volumes.volume_intensity import VolumeIntensity, normalize
from medtune.serving.volumes.windows import Patch

NEIGHBORHOOD: components.Neighborhood = 26


@dataclass(frozen=True)
class Preparation:
    """Conversion of a volume into the input of the network.

    Attributes:
        spacing: spacing of the network's input in mm.
        intensity: normalization of each channel.
    """

    spacing: Spacing
    intensity: tuple[VolumeIntensity, ...]

    @classmethod
    def from_document(cls, values: Mapping[str, Any]) -> "Preparation":
        """Parse the result of `document`; raise FieldError for an invalid field."""
        spacing = values.get("spacing")
        if not isinstance(spacing, Sequence) or len(spacing) != 3 or not all(_is_positive(mm) for mm in spacing):
            raise FieldError("spacing", spacing, "three positive numbers")
        rules = values.get("intensity")
        if not isinstance(rules, Sequence) or not rules or isinstance(rules, str):
            raise FieldError("intensity", rules, "a list with a rule per channel")
        x, y, z = map(float, spacing)
        return cls((x, y, z), tuple(VolumeIntensity.from_document(rule) for rule in rules))

    def document(self) -> dict[str, Any]:
        """Return the fields for dataset.json and bundle.json."""
        return {"spacing": list(self.spacing), "intensity": [rule.document() for rule in self.intensity]}

    def apply(self, data: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """Normalize and resample a volume.

        Args:
            data: (C, X, Y, Z) in RAS, with the values of the file.
            spacing: spacing of `data` in mm.

        Returns:
            float16 (C, X', Y', Z'). Stored volumes have this type, and a bundle must not use more digits.

        Raises:
            DecodeError: the number of channels differs, a voxel is NaN or infinite, or a channel is constant.
        """
        shape = resampled_shape(data.shape[1:], spacing, self.spacing)
        normalized = normalize(data, self.intensity)
        if shape != data.shape[1:]:
            normalized = resample_image(normalized, shape, thick_axis(spacing, self.spacing))
        return normalized.astype(np.float16)


@dataclass(frozen=True)
class PostProcessing:
    """Removal of components from a label map.

    Attributes:
        largest: labels of which only the largest component remains.
        min_volume_mm3: smallest volume of a component that remains.
    """

    largest: tuple[int, ...] = ()
    min_volume_mm3: float = 0.0

    def document(self) -> dict[str, Any]:
        """Return the JSON values, which are the arguments of the constructor."""
        return {**asdict(self), "largest": list(self.largest)}

    @classmethod
    def from_document(cls, values: Mapping[str, Any]) -> "PostProcessing":
        """Parse the result of `document`."""
        return cls(tuple(values["largest"]), float(values["min_volume_mm3"]))

    def apply(self, labels: np.ndarray, n_labels: int, spacing: Sequence[float]) -> np.ndarray:
        """Remove components.

        Args:
            labels: uint8 (X, Y, Z), 0 is the background.
            n_labels: number of labels without the background.
            spacing: spacing of `labels` in mm.

        Returns:
            uint8 (X, Y, Z).
        """
        if self.largest:
            labels = components.keep_largest(labels, self.largest, NEIGHBORHOOD)
        if self.min_volume_mm3:
            which = range(1, n_labels + 1)
            labels = components.remove_small(labels, which, self.min_volume_mm3, spacing, NEIGHBORHOOD)
        return labels


@dataclass(frozen=True)
class Segmentation:
    """Label map of one volume.

    Attributes:
        labels: uint8 (X, Y, Z) on the grid of the volume in RAS, 0 is the background.
        uncertainty: for each label, the mean of 1 - p over its voxels before resampling, where p is the probability of
            the predicted label after temperature scaling; NaN for a label that was not predicted.
        features: (M, F) mean features of M networks over the windows; None if they were not computed.
    """

    labels: np.ndarray
    uncertainty: tuple[float, ...]
    features: np.ndarray | None = field(default=None, kw_only=True)


def segment(
    image: np.ndarray,
    shape: Shape,
    spacing: Sequence[float],
    preparation: Preparation,
    run: Run,
    patch: Patch,
    overlap: float,
    n_labels: int,
    batch: int = 1,
    on_progress: OnProgress | None = None,
    views: Sequence[int] = (),
    temperature: float = 1.0,
    on_slab: OnSlab | None = None,
) -> Segmentation:
    """Predict the label of each voxel, without post-processing.

    The probabilities of a slab leave the memory as soon as its labels are known, also if the label map is resampled.

    Args:
        image: (C, X', Y', Z') from `Preparation.apply`.
        shape: shape (X, Y, Z) of the volume in RAS.
        spacing: spacing of the volume in RAS in mm.
        preparation: the preparation of `image`.
        run: network, from windows float32 (B, C, *patch) to probabilities (B, 1 + n_labels, *patch).
        patch: voxels of a window per axis, as in training.
        overlap: overlap of neighboring windows as a fraction of the window.
        n_labels: number of labels without the background.
        batch: largest number of windows per call of `run`.
        on_progress: called with the number of finished windows and the total number of windows.
        views: axes whose mirrored windows are also predicted (see `mirrored`).
        temperature: divisor of the logarithms of the probabilities, for the uncertainty. It changes no label.
        on_slab: called with the probabilities of each finished slab of `image`, before temperature scaling.

    Returns:
        The label map on the grid of the volume.

    Raises:
        ValueError: `run` returns another shape, NaN or infinity.
    """
    n_classes, (x, y, z) = n_labels + 1, image.shape[1:]
    labels, resampler = np.empty((x, y, z), np.uint8), None
    if (x, y, z) != tuple(shape):
        resampler = LabelResampler((x, y, z), shape, thick_axis(spacing, preparation.spacing))
    doubt, count = np.zeros(n_classes), np.zeros(n_classes)
    network = mirrored(run, views) if views else run
    slabs = predict_slabs(np.asarray(image, np.float32), network, patch, overlap, n_classes, batch, on_progress)
    for first, probabilities in slabs:
        part = probabilities.argmax(axis=0).astype(np.uint8)
        doubt += np.bincount(part.ravel(), (1 - confidence(probabilities, temperature)).ravel(), n_classes)
        count += np.bincount(part.ravel(), minlength=n_classes)
        if on_slab is not None:
            on_slab(first, probabilities)
        if resampler is None:
            labels[first : first + part.shape[0]] = part
        else:
            for plane in range(part.shape[0]):  # half precision, as in label maps of earlier versions
                resampler.add(probabilities[:, plane : plane + 1].astype(np.float16))
        del probabilities  # otherwise two slabs are in memory while the next is computed
    if resampler is not None:
        labels = resampler.labels
    mean = np.divide(doubt, count, out=np.full(n_classes, np.nan), where=count > 0)
    return Segmentation(labels, tuple(mean[1:].tolist()))


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")

"""Entry `volumes` of bundle.json: how a bundle reads volumes and writes label maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medtune.serving.field_error import FieldError
from medtune.serving.manifest_fields import VOLUMES
from medtune.serving.volumes.confidence import parse_temperature
from medtune.serving.volumes.network_features import KEY, FeatureLimit
from medtune.serving.volumes.pipeline import PostProcessing, Preparation
from medtune.serving.volumes.resampling import Shape
from medtune.serving.volumes.training_range import TrainingRange
from medtune.serving.volumes.windows import Patch

# Name of the graph's input, float32 (N, C, X, Y, Z).
INPUT = "windows"
MAX_OVERLAP = 0.9
AXES = ("x", "y", "z")


@dataclass(frozen=True)
class VolumeSettings:
    """Parsed entry `volumes`.

    Attributes:
        preparation: spacing and intensity.
        channels: names of the channels.
        patch: voxels of a window per axis.
        overlap: overlap of neighboring windows as a fraction of the window.
        post_processing: removal of components.
        training_range: range of the training volumes.
        is_planar: True if the bundle reads images, which have one slice.
        pixel_mm: spacing of the pixels of images along X and Y in mm; None if the training images differ in it.
        views: axes, 0 to 2, whose mirrored windows are also predicted.
        temperature: divisor of the logarithms of the probabilities, for the uncertainty.
        feature_limit: limit of the distance of the features from the training volumes; None in older bundles, whose
            graph has no features.
    """

    preparation: Preparation
    channels: tuple[str, ...]
    patch: Patch
    overlap: float
    post_processing: PostProcessing
    training_range: TrainingRange
    is_planar: bool = False
    pixel_mm: tuple[float, float] | None = None
    views: tuple[int, ...] = ()
    temperature: float = 1.0
    feature_limit: FeatureLimit | None = None

    @property
    def length_unit(self) -> str:
        """Unit of distances. Pixels without a known spacing have a side of 1 mm, so that both units are correct."""
        return "pixels" if self.pixel_mm == (1.0, 1.0) else "mm"

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "VolumeSettings":
        """Parse bundle.json.

        Args:
            document: content of bundle.json, with the entries `classes` and `volumes`.

        Returns:
            The settings.

        Raises:
            FieldError: a field is missing or invalid.
        """
        values: Any = document.get(VOLUMES)
        if not isinstance(values, dict):
            raise FieldError(VOLUMES, values, "a mapping")
        try:
            preparation = Preparation.from_document(values)
            channels: Any = values.get("channels")
            if not _are_names(channels) or len(channels) != len(preparation.intensity):
                raise FieldError("channels", channels, f"{len(preparation.intensity)} different names")
            patch = values.get("patch")
            if not isinstance(patch, list) or len(patch) != 3 or not all(_is_count(side) for side in patch):
                raise FieldError("patch", patch, "three numbers of voxels")
            overlap: Any = values.get("overlap")
            if not _is_number(overlap) or not 0 <= overlap <= MAX_OVERLAP:
                raise FieldError("overlap", overlap, f"a number from 0 to {MAX_OVERLAP:g}")
            rules: Any = values.get("post_processing")
            check_post_processing(rules, len(document["classes"]))
            training_range = TrainingRange.from_document(values.get("training_range"), len(channels))
            pixel_mm = _parse_images(values["images"], patch) if "images" in values else None
            views = parse_views(values.get("mirror_views", []))
            temperature = parse_temperature(values.get("temperature"))
            feature_limit = FeatureLimit.from_document(values.get(KEY))
        except FieldError as error:
            raise error.within(VOLUMES) from None
        return cls(
            preparation,
            tuple(channels),
            (patch[0], patch[1], patch[2]),
            float(overlap),
            PostProcessing.from_document(rules),
            training_range,
            "images" in values,
            pixel_mm,
            views,
            temperature,
            feature_limit,
        )

    def differences(
        self, shape: Shape, spacing: Sequence[float], quantiles: Sequence[Sequence[float]], features: np.ndarray | None
    ) -> tuple[str, ...]:
        """Describe how a volume differs from the training volumes.

        Args:
            shape: (3,) voxels per axis of the file, in RAS.
            spacing: (3,) spacing of the file in mm.
            quantiles: (C, 5) result of `quantiles_of`.
            features: (M, F) whitened features of M networks; None without features.

        Returns:
            One phrase per difference.
        """
        rules, unit = self.preparation.intensity, self.length_unit
        found = self.training_range.differences(shape, spacing, quantiles, self.channels, rules, unit)
        if self.feature_limit is not None and features is not None:
            found += self.feature_limit.differences(features)
        return tuple(found)


def parse_views(names: Any) -> tuple[int, ...]:
    """Return the numbers of mirrored axes.

    Args:
        names: `mirror_views` of bundle.json, some of x, y and z.

    Returns:
        Axes, 0 to 2, ascending.

    Raises:
        FieldError: the value is not a list of different axes.
    """
    if not isinstance(names, list) or not all(name in AXES for name in names) or len({*names}) < len(names):
        raise FieldError("mirror_views", names, "a list of different axes of x, y and z")
    return tuple(sorted(AXES.index(name) for name in names))


def check_post_processing(values: Any, n_labels: int) -> None:
    """Check the result of `PostProcessing.document`.

    Args:
        values: an entry of bundle.json.
        n_labels: number of labels without the background.

    Raises:
        FieldError: a field is missing or invalid.
    """
    if not isinstance(values, Mapping):
        raise FieldError("post_processing", values, "a mapping")
    largest: Any = values.get("largest")
    smallest: Any = values.get("min_volume_mm3")
    if not isinstance(largest, list) or not all(_is_count(label) and label <= n_labels for label in largest):
        raise FieldError("post_processing.largest", largest, f"a list of labels from 1 to {n_labels}")
    if not _is_number(smallest) or not 0 <= smallest < float("inf"):
        raise FieldError("post_processing.min_volume_mm3", smallest, "a volume, 0 or more")


def _parse_images(values: Any, patch: list[int]) -> tuple[float, float] | None:
    """Return `pixel_mm` of the entry `images`; raise FieldError if it is invalid or the patch has several slices."""
    if patch[2] != 1:
        raise FieldError("patch", patch, f'one slice, because key "{VOLUMES}.images" makes the bundle read images')
    pixel_mm = values.get("pixel_mm", ()) if isinstance(values, Mapping) else ()
    if pixel_mm is None:
        return None
    if not isinstance(pixel_mm, list) or len(pixel_mm) != 2 or not all(_is_number(mm) and mm > 0 for mm in pixel_mm):
        raise FieldError("images", values, 'the key "pixel_mm" with null or two positive numbers')
    return float(pixel_mm[0]), float(pixel_mm[1])


def _are_names(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(name, str) for name in values) and len({*values}) == len(values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0

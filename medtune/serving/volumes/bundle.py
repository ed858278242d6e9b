"""Loading and running of a bundle that segments volumes or two-dimensional images.

Needs onnxruntime, NumPy and Pillow. A bundle that segments volumes also needs nibabel. A DICOM series also needs
pydicom. Some image files need other libraries (see `medtune.serving.decode`).
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from medtune.serving import members
from medtune.serving.loaded_bundle import LoadedBundle
from medtune.serving.loading import run_model
from medtune.serving.manifest import BundleError
from medtune.serving.manifest_fields import VOLUMES
from medtune.serving.pixels import DecodeError
from medtune.serving.samples import compare_samples
from medtune.serving.volumes import pipeline
from medtune.serving.volumes.dicom_series import read_series
from medtune.serving.volumes.document import VolumeSettings
from medtune.serving.volumes.image_file import read_image
from medtune.serving.volumes.network_features import FEATURES, FeatureSums
from medtune.serving.volumes.nifti import read_volume
from medtune.serving.volumes.nifti_space import INSTALL
from medtune.serving.volumes.resampling import Shape
from medtune.serving.volumes.segmented import SegmentedVolume, label_volumes
from medtune.serving.volumes.sliding_window import OnProgress, OnSlab
from medtune.serving.volumes.training_range import quantiles_of
from medtune.serving.volumes.volume import Volume

Source = str | Path | Sequence[str | Path] | Volume
SUPPORTED = ("cpu", "cuda")


class VolumeBundle(LoadedBundle):
    """A loaded bundle that segments volumes or two-dimensional images."""

    @classmethod
    def _check_kind(cls, folder: Path, document: dict[str, Any], provider: str) -> None:
        if VOLUMES not in document:
            raise BundleError(f"{folder}: the bundle does not segment. Load it with medtune.serving.bundle.Bundle")
        if "images" not in document[VOLUMES] and find_spec("nibabel") is None:
            raise BundleError(INSTALL)
        if provider not in SUPPORTED:
            raise BundleError(f"provider={provider}: not supported for segmentation. Use {' or '.join(SUPPORTED)}")

    @cached_property
    def settings(self) -> VolumeSettings:
        """Parsed entry `volumes` of bundle.json."""
        return VolumeSettings.from_document(self.manifest)

    def run(self, windows: np.ndarray) -> np.ndarray:
        """Run the model on normalized windows.

        Args:
            windows: float32 (N, C, *patch).

        Returns:
            float32 (N, 1 + labels, *patch), the mean probabilities of the networks.

        Raises:
            BundleError: the array has another type or shape.
            RuntimeError: onnxruntime failed.
        """
        self._check_windows(windows)
        return run_model(self.session, [self.manifest["output"]["name"]], self._feed(windows))[0]

    def run_member(self, windows: np.ndarray, member: int) -> np.ndarray:
        """Run the model and return the probabilities of one of its networks; see `run`."""
        self._check_windows(windows)
        return np.ascontiguousarray(run_model(self.session, [members.MEMBERS], self._feed(windows))[0][:, member])

    def run_with_features(self, windows: np.ndarray, member: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Run the model, and return the probabilities and the whitened features of each window.

        Args:
            windows: float32 (N, C, *patch).
            member: return the outputs of only this network instead of the mean probabilities and all features.

        Returns:
            float32 (N, 1 + labels, *patch) and (N, M, F).

        Raises:
            BundleError: the array has another type or shape.
            RuntimeError: onnxruntime failed.
        """
        self._check_windows(windows)
        name = self.manifest["output"]["name"] if member is None else members.MEMBERS
        output, features = run_model(self.session, [name, FEATURES], self._feed(windows))
        if member is None:
            return output, features
        return np.ascontiguousarray(output[:, member]), features[:, member : member + 1]

    def read(self, source: Source) -> Volume:
        """Read a volume with the channels of the bundle.

        Args:
            source: a NIfTI file with all channels, a sequence with one file per channel, the folder of a DICOM series,
                or a volume. If the bundle segments images, one image file or a volume.

        Returns:
            The volume.

        Raises:
            DecodeError: the volume cannot be used. The message names the file.
        """
        channels = len(self.settings.channels)
        if isinstance(source, Volume):
            if len(source.data) != channels:
                raise DecodeError(f"{len(source.data)} channels; expected {channels}")
            return source
        paths = [Path(source)] if isinstance(source, str | Path) else [Path(path) for path in source]
        if self.settings.is_planar:
            return self._read_image(paths)
        if len(paths) == 1 and paths[0].is_dir():
            if channels != 1:
                raise DecodeError(f"{paths[0]}: a DICOM series has one channel; expected {channels}")
            return read_series(paths[0])
        return read_volume(paths, channels)

    def _read_image(self, paths: Sequence[Path]) -> Volume:
        pixel_mm = self.settings.pixel_mm
        if len(paths) != 1:
            raise DecodeError(f"{len(paths)} files; expected one image")
        if pixel_mm is None:
            raise DecodeError(
                f"{paths[0]}: the pixel spacing is unknown, and the training images have different spacings. Call "
                "medtune.serving.volumes.image_file.read_image with the spacing, and pass the volume that it returns"
            )
        return read_image(paths[0], len(self.settings.channels), pixel_mm)

    def segment(
        self,
        source: Source,
        member: int | None = None,
        post_processing: bool = True,
        batch_size: int = 1,
        on_progress: OnProgress | None = None,
    ) -> SegmentedVolume:
        """Segment one volume.

        Args:
            source: see `read`.
            member: use only this network instead of the mean of all networks.
            post_processing: remove components as bundle.json states.
            batch_size: windows per run of the network. More windows need more memory.
            on_progress: called with the number of finished windows and the total number of windows.

        Returns:
            The label map on the grid of the file, and the volume and the uncertainty of each label.

        Raises:
            DecodeError: the volume cannot be used, or the memory is not sufficient.
            RuntimeError: onnxruntime failed, or the model returned a value that is not finite.
        """
        volume = self.read(source)
        settings, spacing = self.settings, volume.spacing.tolist()
        grid, shape, quantiles = volume.grid, volume.shape, quantiles_of(volume.data)
        try:
            image = settings.preparation.apply(volume.data, spacing)
            del volume  # the values of the file are no longer needed
            result = self.segment_prepared(image, shape, spacing, member, batch_size, on_progress)
            labels = result.labels
            if post_processing:
                labels = settings.post_processing.apply(labels, len(self.classes), spacing)
        except MemoryError:
            raise DecodeError("not enough memory to segment the volume") from None
        except ValueError as error:  # NaN or infinite probabilities
            raise RuntimeError(f"{self.folder}: {error}") from None
        volumes_ml = label_volumes(labels, len(self.classes), spacing)
        flags = settings.differences(shape, spacing, quantiles, result.features)
        return SegmentedVolume(labels, grid, volumes_ml, result.uncertainty, flags)

    def segment_prepared(
        self,
        image: np.ndarray,
        shape: Shape,
        spacing: Sequence[float],
        member: int | None = None,
        batch_size: int = 1,
        on_progress: OnProgress | None = None,
        on_slab: OnSlab | None = None,
    ) -> pipeline.Segmentation:
        """Segment a volume that has the spacing and the normalization of the bundle, without post-processing.

        Args:
            image: (C, X', Y', Z') from `Preparation.apply`.
            shape: shape (X, Y, Z) of the volume in RAS.
            spacing: spacing of the volume in RAS in mm.
            member: use only this network instead of the mean of all networks.
            batch_size: windows per run of the network.
            on_progress: called with the number of finished windows and the total number of windows.
            on_slab: called with the probabilities of each finished slab of `image`, before temperature scaling.

        Returns:
            The label map on the grid of the volume in RAS, the uncertainty of each label, and the features.

        Raises:
            ValueError: the model returned a value that is not finite.
        """
        settings, sums = self.settings, FeatureSums()

        def run(windows: np.ndarray) -> np.ndarray:
            if settings.feature_limit is None:
                return self.run(windows) if member is None else self.run_member(windows, member)
            output, features = self.run_with_features(windows, member)
            sums.add(features)
            return output

        result = pipeline.segment(
            image, shape, spacing, settings.preparation, run, settings.patch, settings.overlap, len(self.classes),
            batch_size, on_progress, settings.views, settings.temperature, on_slab,
        )  # fmt: skip
        return replace(result, features=sums.take()) if sums else result

    def rows(self, results: Sequence[SegmentedVolume]) -> list[list[Any]]:
        """Convert results to one list per volume, with one value per entry of the task's `columns`."""
        return list(self.task.rows(results, self.manifest))

    def self_test(self) -> float:
        """Compare the output of the sample windows with the exported one; see `LoadedBundle.self_test`."""
        return compare_samples(self.folder, self.manifest, self.precision, self.providers[0], self.run)[1]

    def _feed(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        return {self.manifest["input"]["name"]: np.ascontiguousarray(windows)}

    def _check_windows(self, windows: np.ndarray) -> None:
        expected = (len(self.settings.channels), *self.settings.patch)
        if windows.dtype != np.float32 or windows.shape[1:] != expected:
            raise BundleError(f"windows are {windows.dtype} {windows.shape}; expected float32 (N, {expected})")

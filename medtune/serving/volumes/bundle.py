"""Loading and running of a bundle that segments volumes. Needs onnxruntime, NumPy and nibabel only."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime

from medtune.serving import members, tasks
from medtune.serving.loading import open_model
from medtune.serving.manifest import BundleError, read_manifest
from medtune.serving.manifest_fields import VOLUMES
from medtune.serving.pixels import DecodeError
from medtune.serving.samples import compare_samples
from medtune.serving.volumes import pipeline
from medtune.serving.volumes.dicom_series import read_series
from medtune.serving.volumes.document import VolumeSettings
from medtune.serving.volumes.image_file import read_image
from medtune.serving.volumes.nifti import read_volume
from medtune.serving.volumes.nifti_space import INSTALL
from medtune.serving.volumes.segmented import SegmentedVolume, label_volumes
from medtune.serving.volumes.sliding_window import OnProgress
from medtune.serving.volumes.training_range import quantiles_of
from medtune.serving.volumes.volume import Volume

Source = str | Path | Sequence[str | Path] | Volume
SUPPORTED = ("cpu", "cuda")


@dataclass(frozen=True)
class VolumeBundle:
    """A loaded bundle for volumes.

    Attributes:
        folder: folder of the bundle.
        manifest: content of bundle.json.
        precision: the precision in use.
        session: the onnxruntime session, which is thread-safe.
    """

    folder: Path
    manifest: dict[str, Any]
    precision: str
    session: onnxruntime.InferenceSession

    @classmethod
    def load(
        cls,
        folder: Path | str,
        precision: str = "fp32",
        provider: str = "cpu",
        threads: int = 0,
        busy_wait: bool = True,
    ) -> "VolumeBundle":
        """Load a bundle and verify the SHA-256 of every file.

        Args:
            folder: the exported folder.
            precision: fp32, or another precision that the bundle ships.
            provider: cpu or cuda. There is no fallback to another provider.
            threads: CPU threads per prediction. 0 uses all cores.
            busy_wait: let idle threads spin during a prediction. Use False if other programs need the cores.

        Returns:
            The loaded bundle.

        Raises:
            BundleError: the bundle is damaged, predicts images or lacks the precision. Also if onnxruntime is too old,
                the provider is not active, or nibabel is not installed.
        """
        folder = Path(folder)
        document = read_manifest(folder)
        if VOLUMES not in document:
            raise BundleError(f"{folder} predicts images, not volumes. Load it with medtune.serving.bundle.Bundle")
        if "images" not in document[VOLUMES] and find_spec("nibabel") is None:
            raise BundleError(INSTALL)
        if provider not in SUPPORTED:
            raise BundleError(f"provider {provider} does not run bundles for volumes. Use {' or '.join(SUPPORTED)}")
        return cls(folder, document, precision, open_model(folder, document, precision, provider, threads, busy_wait))

    @property
    def task(self) -> ModuleType:
        """Module that describes the results of this kind of task (see `medtune.serving.tasks`)."""
        task = tasks.find(self.manifest["task"]["kind"])
        assert task is not None  # read_manifest rejects unknown tasks
        return task

    @property
    def classes(self) -> list[str]:
        """Names of the labels 1, 2, ... of a label map."""
        return list(self.manifest["classes"])

    @cached_property
    def settings(self) -> VolumeSettings:
        """Parsed entry `volumes` of bundle.json."""
        return VolumeSettings.from_document(self.manifest)

    @property
    def providers(self) -> list[str]:
        """Active onnxruntime providers, in order of preference."""
        return list(self.session.get_providers())

    def run(self, windows: np.ndarray) -> np.ndarray:
        """Run the model on normalized windows.

        Args:
            windows: float32 (N, C, *patch).

        Returns:
            float32 (N, 1 + labels, *patch), the mean probabilities of the networks.

        Raises:
            BundleError: the array has another type or shape.
        """
        self._check_windows(windows)
        output: np.ndarray = self.session.run([self.manifest["output"]["name"]], self._feed(windows))[0]
        return output

    def run_member(self, windows: np.ndarray, member: int) -> np.ndarray:
        """Run the model and return the probabilities of one of its networks; see `run`."""
        self._check_windows(windows)
        output: np.ndarray = self.session.run([members.MEMBERS], self._feed(windows))[0]
        return np.ascontiguousarray(output[:, member])

    def read(self, source: Source) -> Volume:
        """Read a volume with the channels of the bundle.

        Args:
            source: a NIfTI file with all channels, a sequence with one file per channel, the folder of a DICOM series,
                or a volume. A bundle of images reads an image file.

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
                f"{paths[0]}: the pixel spacing is unknown, and that of the training images differs. Pass the volume "
                "of medtune.serving.volumes.image_file.read_image"
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
            source: argument of `read`.
            member: use only this network instead of the mean of all networks.
            post_processing: remove components as bundle.json states.
            batch_size: windows per run of the network. More windows need more memory.
            on_progress: gets the number of finished windows and of all windows.

        Returns:
            The label map on the grid of the file, and its summary.

        Raises:
            DecodeError: the volume cannot be used, or the memory is not sufficient.
            RuntimeError: the model returned a value that is not finite.
        """
        volume = self.read(source)
        settings, n_labels, spacing = self.settings, len(self.classes), volume.spacing.tolist()
        names, rules = settings.channels, settings.preparation.intensity
        flags = settings.training_range.differences(volume.shape, spacing, quantiles_of(volume.data), names, rules)
        grid, shape = volume.grid, volume.shape
        try:
            image = settings.preparation.apply(volume.data, spacing)
            del volume  # the values of the file are not needed any more
            run = self.run if member is None else (lambda windows: self.run_member(windows, member))
            result = pipeline.segment(
                image, shape, spacing, settings.preparation, run, settings.patch, settings.overlap, n_labels,
                batch_size, on_progress,
            )  # fmt: skip
            labels = result.labels
            if post_processing:
                labels = settings.post_processing.apply(labels, n_labels, spacing)
        except MemoryError:
            raise DecodeError("not enough memory to segment the volume") from None
        except ValueError as error:  # NaN or infinite probabilities
            raise RuntimeError(f"{self.folder}: {error}") from None
        return SegmentedVolume(labels, grid, label_volumes(labels, n_labels, spacing), result.uncertainty, tuple(flags))

    def rows(self, results: Sequence[SegmentedVolume]) -> list[list[Any]]:
        """Convert results to one list per volume, with one value per entry of the task's `columns`."""
        return list(self.task.rows(results, self.manifest))

    def self_test(self) -> float:
        """Run the bundle's sample windows and compare the result with its sample output.

        Returns:
            The largest absolute difference.

        Raises:
            BundleError: the difference exceeds the tolerance of this precision.
        """
        return compare_samples(self.folder, self.manifest, self.precision, self.providers[0], self.run)[1]

    def _feed(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        return {self.manifest["input"]["name"]: np.ascontiguousarray(windows)}

    def _check_windows(self, windows: np.ndarray) -> None:
        expected = (len(self.settings.channels), *self.settings.patch)
        if windows.dtype != np.float32 or windows.shape[1:] != expected:
            raise BundleError(f"windows are {windows.dtype} {windows.shape}; expected float32 (N, {expected})")

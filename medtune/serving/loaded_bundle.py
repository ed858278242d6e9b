"""Base class of bundles for images and for volumes: loading, and common properties."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import onnxruntime

from medtune.serving import tasks
from medtune.serving.loading import open_model
from medtune.serving.manifest import read_manifest


@dataclass(frozen=True)
class LoadedBundle(ABC):
    """A loaded bundle of any kind.

    Attributes:
        folder: folder of the bundle.
        manifest: content of bundle.json.
        precision: precision of the loaded model: fp32, fp16 or int8.
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
    ) -> Self:
        """Load a bundle and verify the SHA-256 of every file.

        Args:
            folder: folder of the bundle.
            precision: fp32, or another precision that the bundle contains.
            provider: cpu, cuda or tensorrt (images only). There is no fallback to another provider.
            threads: number of CPU threads per prediction; 0 for all cores.
            busy_wait: let idle threads spin during a prediction. Use False if other programs need the cores.

        Returns:
            The loaded bundle.

        Raises:
            BundleError: the bundle is damaged, is of another kind or version, or lacks the precision. Or a package is
                missing or too old, the provider is not active, or int8 results on this CPU are wrong.
        """
        folder = Path(folder)
        document = read_manifest(folder)
        cls._check_kind(folder, document, provider)
        session = open_model(folder, document, precision, provider, threads, busy_wait, cls._graph_input(document))
        bundle = cls(folder, document, precision, session)
        if precision == "int8":  # on x86 CPUs without the VNNI instructions, sums of products may overflow
            bundle.self_test()
        return bundle

    @classmethod
    @abstractmethod
    def _check_kind(cls, folder: Path, document: dict[str, Any], provider: str) -> None:
        """Raise BundleError if this class or the provider does not support the bundle."""

    @classmethod
    def _graph_input(cls, document: dict[str, Any]) -> tuple[str, int] | None:
        """Return the name of the input and the side of its images in pixels. None if the inputs are not images."""
        return None

    @property
    def task(self) -> ModuleType:
        """Module that describes the results of this kind of task (see `medtune.serving.tasks`)."""
        task = tasks.find(self.manifest["task"]["kind"])
        assert task is not None  # read_manifest rejects unknown tasks
        return task

    @property
    def classes(self) -> list[str]:
        """Class names in the order of the probabilities, or the names of the labels 1, 2, ... of a label map."""
        return list(self.manifest["classes"])

    @property
    def providers(self) -> list[str]:
        """Active onnxruntime providers, in order of preference."""
        return list(self.session.get_providers())

    @abstractmethod
    def self_test(self) -> float:
        """Run the sample input of the bundle, and compare the result with the sample output.

        Returns:
            The largest absolute difference.

        Raises:
            BundleError: the difference exceeds the tolerance of this precision, or a decision differs.
        """

"""Parts of the evaluation of a bundle that depend on the kind of input: images or volumes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.errors import InputError, RunError
from medtune.config.external import ExternalParams, external_params
from medtune.config.schema import EvaluateParams
from medtune.runtime.progress import progress
from medtune.serving.bundle import Bundle
from medtune.serving.manifest_fields import VOLUMES
from medtune.tasks import base

if TYPE_CHECKING:
    from medtune.data.external import ExternalListing
    from medtune.data.manifest import PreparedDataset


@dataclass(frozen=True)
class ExternalInput(ABC):
    """Reading of external data, and prediction of a bundle for them.

    Attributes:
        folder: folder of the bundle.
        document: content of bundle.json.
    """

    folder: Path
    document: dict[str, Any]

    @property
    def targets(self) -> Any:
        """Targets module of the task (`medtune.tasks.base.Targets`)."""
        return base.targets(self.document["task"]["kind"])

    @abstractmethod
    def params(self, data: Path, sets: Sequence[str]) -> ExternalParams:
        """Return the params; raises InputError if the data do not exist or an assignment is invalid."""

    @abstractmethod
    def listing(self, params: ExternalParams) -> "ExternalListing":
        """List and check the data without reading pixels; raises InputError if they do not fit the bundle."""

    @abstractmethod
    def load(self, precision: str, provider: str) -> Any:
        """Load the bundle."""

    @abstractmethod
    def prepare(self, listing: Any, params: ExternalParams, bundle: Any, folder: Path, name: str) -> "PreparedDataset":
        """Prepare the data in `folder` as a test set; raises InputError if files cannot be used."""

    @abstractmethod
    def outputs(self, bundle: Any, prepared: "PreparedDataset", options: EvaluateParams, folder: Path) -> Any:
        """Return the output of the bundle, as `Evaluation.from_bundle` reads it; raises RunError if it is NaN."""

    @abstractmethod
    def rule(self, bundle: Any) -> str:
        """Describe the decision rule or post-processing of the bundle."""

    @abstractmethod
    def facts(self, bundle: Any, prepared: "PreparedDataset") -> dict[str, Any]:
        """Return further entries of `external` in metrics.json."""

    def warnings(self, facts: Mapping[str, Any]) -> list[str]:
        """Return warnings about the result of `facts`, one sentence each."""
        return []


def external_input(bundle: Path, document: dict[str, Any]) -> ExternalInput:
    """Return the parts for the kind of input of a bundle.

    Args:
        bundle: folder of the bundle.
        document: content of bundle.json.

    Returns:
        The parts.
    """
    if VOLUMES in document:
        from medtune.stages.external_volumes import VolumeInput

        return VolumeInput(bundle, document)
    return ImageInput(bundle, document)


class ImageInput(ExternalInput):
    """Parts for images."""

    def params(self, data: Path, sets: Sequence[str]) -> ExternalParams:
        """Return the params."""
        return external_params(self.document, data, sets)

    def listing(self, params: ExternalParams) -> "ExternalListing":
        """List the images and check their labels."""
        from medtune.data.external_images import list_images

        return list_images(params.data, self.document.get("classes", []), self._positive())

    def load(self, precision: str, provider: str) -> Bundle:
        """Load the bundle."""
        return Bundle.load(self.folder, precision, provider)

    def prepare(
        self, listing: "ExternalListing", params: ExternalParams, bundle: Bundle, folder: Path, name: str
    ) -> "PreparedDataset":
        """Decode the images."""
        from medtune.data.external_images import prepare_external_images

        return prepare_external_images(listing, params.data, bundle.intensity, folder, name, self.targets)

    def outputs(self, bundle: Bundle, prepared: "PreparedDataset", options: EvaluateParams, folder: Path) -> np.ndarray:
        """Compute the outputs, float32 (n, ...), for packed images."""
        images, outputs = prepared.images, list[np.ndarray]()
        with progress(f"evaluate: {bundle.precision}", len(images), "images") as advance:
            for start in range(0, len(images), options.batch_size):
                try:
                    outputs.append(bundle.run(np.ascontiguousarray(images[start : start + options.batch_size])))
                except RuntimeError as error:
                    raise RunError(str(error)) from error
                advance(len(outputs[-1]))
        return np.concatenate(outputs)

    def rule(self, bundle: Bundle) -> str:
        """Describe the decision rule."""
        return str(bundle.task.summary(self.document))

    def facts(self, bundle: Bundle, prepared: "PreparedDataset") -> dict[str, Any]:
        """Return the number of images per class."""
        from medtune.data.external import class_counts

        return {"images_by_class": class_counts(prepared)}

    def _positive(self) -> str | None:
        """Return the positive class of a bundle with two classes.

        Returns:
            The class with index 1, or None if the task has no positive class.

        Raises:
            InputError: the positive class of the bundle has index 0.
        """
        classes = self.document.get("classes", [])
        if len(classes) != 2 or not self.targets.HAS_POSITIVE:
            return None
        for positive in (self.document.get("positive"), self.document.get("decision", {}).get("positive")):
            if positive not in (None, classes[1]):
                raise InputError(
                    f"{self.folder}: the positive class {positive} is not the last of the classes {classes}"
                )
        return str(classes[1])

"""Evaluation of a bundle on external data: the steps that differ for images (see stages/external_input.py)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.errors import InputError, RunError
from medtune.config.external import ExternalParams, external_params
from medtune.config.schema import EvaluateParams
from medtune.runtime.progress import progress
from medtune.serving.bundle import Bundle
from medtune.stages.external_input import ExternalInput

if TYPE_CHECKING:
    from medtune.data.external import ExternalListing
    from medtune.data.manifest import PreparedDataset


class ImageInput(ExternalInput):
    """The steps for bundles that classify images."""

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
        """Decode the images, and return them as a test set."""
        from medtune.data.external_images import prepare_external_images

        return prepare_external_images(listing, params.data, bundle.intensity, folder, name, self.targets)

    def outputs(self, bundle: Bundle, prepared: "PreparedDataset", options: EvaluateParams, folder: Path) -> np.ndarray:
        """Compute the outputs of the bundle, float32 (n, ...), for the n prepared images."""
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

    def facts(self, bundle: Bundle, prepared: "PreparedDataset", predictions: Any) -> dict[str, Any]:
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

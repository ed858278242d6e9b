"""Loading and running of a bundle for images or slides. Needs only onnxruntime, NumPy and Pillow."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from medtune.serving import members
from medtune.serving.bound_session import BoundSession
from medtune.serving.image_source import ImageSource, as_list, read_image
from medtune.serving.intensity import Intensity
from medtune.serving.loaded_bundle import LoadedBundle
from medtune.serving.manifest import BundleError
from medtune.serving.manifest_fields import VOLUMES
from medtune.serving.pixels import DecodeError
from medtune.serving.samples import compare_samples
from medtune.serving.session import PROVIDERS
from medtune.serving.slides.predict import NO_SINGLE_IMAGES, predict_source


class Bundle(LoadedBundle):
    """A loaded bundle for images or slides."""

    @classmethod
    def _check_kind(cls, folder: Path, document: dict[str, Any], provider: str) -> None:
        if VOLUMES in document:
            raise BundleError(
                f"{folder} segments volumes. Run `medtune predict`, or load it with "
                "medtune.serving.volumes.bundle.VolumeBundle"
            )

    @classmethod
    def _graph_input(cls, document: dict[str, Any]) -> tuple[str, int]:
        return document["input"]["name"], document["preprocessing"]["image_size"]

    @property
    def columns(self) -> list[str]:
        """Names of the values in each row of `rows`. For classification: the prediction and a probability per class."""
        return list(self.task.columns(self.manifest))

    @property
    def is_for_slides(self) -> bool:
        """True if the bundle predicts whole-slide images from their tiles."""
        return "tiles" in self.manifest

    @property
    def image_size(self) -> int:
        """Side of the network's input images in pixels."""
        return int(self.manifest["preprocessing"]["image_size"])

    @cached_property
    def intensity(self) -> Intensity:
        """Scaling of images of more than 8 bits to 8 bits."""
        return Intensity.from_document(self.manifest["preprocessing"].get("intensity"))

    def prepare(self, source: ImageSource) -> np.ndarray:
        """Convert an image into the input of the network.

        Args:
            source: one image (see `predict`).

        Returns:
            uint8 (H, W, 3).

        Raises:
            medtune.serving.pixels.DecodeError: the image cannot be used, or the bundle predicts slides.
        """
        if self.is_for_slides:
            raise DecodeError(NO_SINGLE_IMAGES)
        image = read_image(source, self.intensity.apply_voi)
        return self.intensity.fit(image, self.image_size, self.manifest["preprocessing"]["resize"])

    def predict(self, images: ImageSource | Sequence[ImageSource], batch_size: int = 32) -> list[Any]:
        """Predict images of any size. They are preprocessed like the training images.

        Args:
            images: one image or a sequence of images. An image is a path, the bytes of an image file, a Pillow image,
                or an array: uint8 or uint16 (h, w) or (h, w, 3), or uint8 (h, w, 4). An array (n, h, w, 3) holds n
                images. A bundle for slides accepts only paths of slides.
            batch_size: number of images per run of the network.

        Returns:
            One prediction per image, in order, for example a `medtune.serving.prediction.Prediction`.

        Raises:
            medtune.serving.pixels.DecodeError: an image cannot be used. The message names the image.
        """
        sources, results = as_list(images), []
        if self.is_for_slides:
            rows = [predict_source(self, source, batch_size).row for source in sources]
            return [self.task.prediction(row, self.manifest) for row in rows]
        for start in range(0, len(sources), batch_size):
            batch = enumerate(sources[start : start + batch_size], start)
            output = self.run(np.stack([self._prepare_named(source, index) for index, source in batch]))
            results += [self.task.prediction(row, self.manifest) for row in self.rows(output)]
        return results

    def run(self, images: np.ndarray) -> np.ndarray:
        """Run the model on images of its input size.

        Args:
            images: uint8 (N, H, W, 3) RGB.

        Returns:
            float32 (N, ...), the mean output of the networks in the bundle. For classification, these are calibrated
            class probabilities (N, classes). For a bundle for slides, the result of `run_members`.

        Raises:
            BundleError: the array has another type or shape, or the output contradicts bundle.json.
            RuntimeError: the model returned a value that is not finite.
        """
        name = self.manifest["output"]["name"]
        return self._run(images, name, self._member_shape if name == members.MEMBERS else self._shape)

    def run_members(self, images: np.ndarray) -> np.ndarray:
        """Run the model and return the output of each of its M networks, float32 (N, M, ...). See also `run`."""
        if members.MEMBERS not in self.manifest:  # schema version 1
            return self.run(images)[:, None]
        return self._run(images, members.MEMBERS, self._member_shape)

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self.task.shape(self.manifest))

    @property
    def _member_shape(self) -> tuple[int, ...]:
        return (members.count(self.manifest), *self._shape)

    def _run(self, images: np.ndarray, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Check the images, compute the output `name`, and check its shape and values."""
        size = self.image_size
        if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3):
            raise BundleError(f"images are {images.dtype} {images.shape}; expected uint8 (N, {size}, {size}, 3)")
        if not len(images):
            return np.zeros((0, *shape), np.float32)
        output = self._predict_function(name)(images)
        expected = (len(images), *shape)
        if output.shape != expected:
            raise BundleError(
                f"{self.folder}: the {self.precision} model returned shape {output.shape} for {len(images)} images; "
                f"bundle.json requires {expected}. Export the bundle again"
            )
        if not np.isfinite(output).all():
            raise RuntimeError(f"{self.folder}: the {self.precision} model returned NaN or infinite values")
        return output

    def _prepare_named(self, source: ImageSource, index: int) -> np.ndarray:
        """Prepare an image. Errors contain the path or the number of the image."""
        try:
            return self.prepare(source)
        except DecodeError as error:
            name = source if isinstance(source, str | Path) else f"image {index}"
            raise DecodeError(f"{name}: {error}") from None

    def _predict_function(self, output: str) -> Callable[[np.ndarray], np.ndarray]:
        """Return the function that computes an output on the active provider."""
        input_name = self.manifest["input"]["name"]
        if self.providers[0] == PROVIDERS["cpu"]:
            return lambda images: self.session.run([output], {input_name: np.ascontiguousarray(images)})[0]
        if output not in self._bound:
            self._bound[output] = BoundSession(self.session, input_name, output)
        return self._bound[output]

    @cached_property
    def _bound(self) -> dict[str, BoundSession]:
        return {}

    def decide(self, probabilities: np.ndarray) -> list[str]:
        """Apply the decision rule of the bundle to probabilities (N, classes). Return N class names."""
        return [row[0] for row in self.rows(probabilities)]

    def rows(self, output: np.ndarray) -> list[list[Any]]:
        """Convert the output of `run` to one list per image, with one value per name in `columns`."""
        return list(self.task.rows(output, self.manifest))

    def self_test(self) -> float:
        """Run the self-test (see `LoadedBundle.self_test`). Also check the decision output of the graph."""
        samples, difference = compare_samples(self.folder, self.manifest, self.precision, self.providers[0], self.run)
        self._check_decision(samples)
        return difference

    def _check_decision(self, samples: np.ndarray) -> None:
        """Check that the decision output of the graph, if there is one, follows the rule in bundle.json."""
        outputs = [node.name for node in self.session.get_outputs()]
        if members.DECISION not in outputs:
            return
        names = [self.manifest["output"]["name"], members.DECISION]
        output, decided = self.session.run(names, {self.manifest["input"]["name"]: np.ascontiguousarray(samples)})
        expected = self.task.decide(output, self.manifest["decision"], self.manifest["classes"])
        if not np.array_equal(decided, expected.astype(np.int64)):
            raise BundleError(
                f"{self.folder}: output {members.DECISION!r} of the {self.precision} model contradicts the decision "
                "rule in bundle.json. Export the bundle again"
            )

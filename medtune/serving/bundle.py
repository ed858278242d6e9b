"""An exported bundle, verified and loaded. Needs onnxruntime, NumPy and Pillow only."""

import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime

from medtune.serving import manifest as bundle_document
from medtune.serving import members, tasks
from medtune.serving.bound_session import BoundSession
from medtune.serving.graph_check import check_graph
from medtune.serving.image_source import ImageSource, as_list, read_image
from medtune.serving.intensity import Intensity
from medtune.serving.manifest import BundleError
from medtune.serving.one_line import first_line
from medtune.serving.onnxruntime_version import MINIMUM, check_version
from medtune.serving.pixels import DecodeError
from medtune.serving.session import PROVIDERS, count_operators, open_session
from medtune.serving.slides.predict import NO_SINGLE_IMAGES, predict_source

# Where bundle.json does not say what was measured.
SAMPLE_TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2, "int8": 5e-2}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    Attributes:
        folder: where it lies.
        manifest: what its bundle.json says.
        precision: the precision in use.
        session: the onnxruntime session; may be used from several threads.
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
    ) -> "Bundle":
        """The bundle at `folder`, every file checked against its sha256.

        Args:
            folder: the exported folder.
            precision: fp32, or another that bundle.json says is shipped.
            provider: cpu, cuda or tensorrt. What is asked for is used, or it is an error.
            threads: CPU threads of one prediction; 0: as many as there are cores.
            busy_wait: idle threads wait busily while a prediction lasts; False where others want the cores then.

        Raises:
            BundleError: damaged, of another schema, without that precision, onnxruntime is too old, the provider
                is not active, or this CPU computes int8 otherwise than the one that exported it.
        """
        folder = Path(folder)
        document = bundle_document.read_manifest(folder)
        offered = document["precisions"].get(precision)
        if not offered or not offered["shipped"]:
            shipped = [name for name, entry in document["precisions"].items() if entry["shipped"]]
            reason = f" ({offered['reason']})" if offered else ""
            raise BundleError(f"{folder} has no {precision} model{reason}; it has: {', '.join(shipped)}")
        for name in document["files"]:
            bundle_document.check_file(folder, document, name)
        check_version(document.get("requires", {}).get("onnxruntime", MINIMUM))
        content = bundle_document.read_file(folder, document, offered["file"])
        given = document["input"]["name"], document["preprocessing"]["image_size"]
        external = offered.get("external_data", [])
        session = open_session(
            content, offered["file"], provider, precision, threads, busy_wait, given, folder, external
        )
        check_graph(session, document, f"{folder / offered['file']}")
        if counts := count_operators(session):
            placed = ", ".join(f"{count} operators on {name}" for name, count in counts.items())
            log.info("%s: %s", offered["file"], placed)
        bundle = cls(folder, document, precision, session)
        if precision == "int8":  # x86 without VNNI adds pairs of products in 16 bits, and may overflow there
            bundle.self_test()
        return bundle

    @property
    def task(self) -> ModuleType:
        """What this kind of task does with the output; see `medtune.serving.tasks`."""
        found = tasks.find(self.manifest["task"]["kind"])
        assert found is not None  # else the document was refused
        return found

    @property
    def classes(self) -> list[str]:
        """Class names of a classification bundle, in the order of the probabilities' columns."""
        return self.manifest["classes"]

    @property
    def columns(self) -> list[str]:
        """Columns of `rows`: for classification the prediction and the probability of each class."""
        return self.task.columns(self.manifest)

    @property
    def is_for_slides(self) -> bool:
        """Whether it predicts whole-slide images, by their tiles."""
        return "tiles" in self.manifest

    @property
    def image_size(self) -> int:
        """Side of the images the network takes, pixels."""
        return self.manifest["preprocessing"]["image_size"]

    @cached_property
    def intensity(self) -> Intensity:
        """How images of more than 8 bits are scaled."""
        return Intensity.from_document(self.manifest["preprocessing"].get("intensity"))

    @property
    def providers(self) -> list[str]:
        """Active onnxruntime providers, first choice first."""
        return self.session.get_providers()

    def prepare(self, source: ImageSource) -> np.ndarray:
        """An image as the uint8 (H, W, 3) that the network takes; what `source` can be: see `predict`.

        Raises:
            medtune.serving.pixels.DecodeError: it cannot be used, or the bundle is for slides; the message says why.
        """
        if self.is_for_slides:
            raise DecodeError(NO_SINGLE_IMAGES)
        image = read_image(source, self.intensity.apply_voi)
        return self.intensity.fit(image, self.image_size, self.manifest["preprocessing"]["resize"])

    def predict(self, images: ImageSource | Sequence[ImageSource], batch_size: int = 32) -> list[Any]:
        """Predict images of any size, each prepared as the training images were.

        Args:
            images: one image or several: a path, the bytes of an image file, a Pillow image, or an array uint8
                or uint16 (h, w) or (h, w, 3), or uint8 (h, w, 4). An array (n, h, w, 3) is n images. Paths of
                slides for a bundle of slides.
            batch_size: images that the network takes at once.

        Returns:
            One prediction per image, in order; a `medtune.serving.prediction.Prediction` for classification.

        Raises:
            medtune.serving.pixels.DecodeError: an image cannot be used; the message names it.
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
        """Run the model on images of its own size: uint8 (N, H, W, 3) RGB.

        Returns:
            float32 (N, ...): calibrated class probabilities (N, classes) for classification, the mean of the bundle's
            networks. A bundle of slides gives the output of each network, as `run_members` does.

        Raises:
            BundleError: the array is of another type or shape, or the output does not fit bundle.json.
            RuntimeError: the model gave a value that is not finite.
        """
        name = self.manifest["output"]["name"]
        return self._run(images, name, self._member_shape if name == members.MEMBERS else self._shape)

    def run_members(self, images: np.ndarray) -> np.ndarray:
        """Run the model and return float32 (N, M, ...): the output of each of its M networks; otherwise as `run`."""
        if members.MEMBERS not in self.manifest:  # schema version 1
            return self.run(images)[:, None]
        return self._run(images, members.MEMBERS, self._member_shape)

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.task.shape(self.manifest)

    @property
    def _member_shape(self) -> tuple[int, ...]:
        return (members.count(self.manifest), *self._shape)

    def _run(self, images: np.ndarray, name: str, shape: tuple[int, ...]) -> np.ndarray:
        size = self.image_size
        if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3):
            raise BundleError(f"images are {images.dtype} {images.shape}; expected uint8 (N, {size}, {size}, 3)")
        if not len(images):
            return np.zeros((0, *shape), np.float32)
        output = self._predict_function(name)(images)
        expected = (len(images), *shape)
        if output.shape != expected:
            raise BundleError(
                f"{self.folder}: the {self.precision} model gave {output.shape} for {len(images)} images; "
                f"bundle.json says {expected}"
            )
        if not np.isfinite(output).all():
            raise RuntimeError(f"{self.folder}: the {self.precision} model gave NaN")
        return output

    def _prepare_named(self, source: ImageSource, index: int) -> np.ndarray:
        try:
            return self.prepare(source)
        except DecodeError as error:
            name = source if isinstance(source, str | Path) else f"image {index}"
            raise DecodeError(f"{name}: {error}") from None

    def _predict_function(self, output: str) -> Callable[[np.ndarray], np.ndarray]:
        given = self.manifest["input"]["name"]
        if self.providers[0] == PROVIDERS["cpu"]:
            return lambda images: self.session.run([output], {given: np.ascontiguousarray(images)})[0]
        if output not in self._bound:
            self._bound[output] = BoundSession(self.session, given, output)
        return self._bound[output]

    @cached_property
    def _bound(self) -> dict[str, BoundSession]:
        return {}

    def decide(self, probabilities: np.ndarray) -> list[str]:
        """Class names that the bundle's decision rule gives for (N, classes) probabilities."""
        return [row[0] for row in self.rows(probabilities)]

    def rows(self, output: np.ndarray) -> list[list[Any]]:
        """One list per image with a value (str or float) per entry of `columns`."""
        return self.task.rows(output, self.manifest)

    def self_test(self) -> float:
        """Largest difference between the bundle's sample output and what is computed here.

        Raises:
            BundleError: it is more than this precision may differ.
        """
        samples, expected = (self._array(name) for name in ("sample_input.npy", "sample_output.npy"))
        difference = float(np.abs(self.run(samples) - expected).max())
        allowed = self.manifest["precisions"][self.precision].get("sample_tolerance")
        if difference > (allowed or SAMPLE_TOLERANCE[self.precision]):
            raise BundleError(
                f"{self.folder}: its {self.precision} samples come out {difference:.2g} off on {self.providers[0]}"
            )
        self._check_decision(samples)
        return difference

    def _check_decision(self, samples: np.ndarray) -> None:
        """The graph's own decision, if it has one, must be that of bundle.json."""
        outputs = [node.name for node in self.session.get_outputs()]
        if members.DECISION not in outputs:
            return
        names = [self.manifest["output"]["name"], members.DECISION]
        output, decided = self.session.run(names, {self.manifest["input"]["name"]: np.ascontiguousarray(samples)})
        wanted = self.task.decide(output, self.manifest["decision"], self.manifest["classes"])
        if not np.array_equal(decided, wanted.astype(np.int64)):
            raise BundleError(
                f"{self.folder}: output {members.DECISION!r} of the {self.precision} model is not what the decision "
                "in bundle.json says"
            )

    def _array(self, name: str) -> np.ndarray:
        content = bundle_document.read_file(self.folder, self.manifest, name)
        try:
            return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)  # np.load takes more than .npy
        except Exception as error:  # the header is read as Python's syntax, and raises what its tokenizer raises
            raise BundleError(f"{self.folder / name} holds no plain array: {first_line(error)}") from None

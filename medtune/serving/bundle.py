"""An exported bundle, verified and loaded. Needs onnxruntime, NumPy and Pillow only."""

import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from medtune.serving import manifest as bundle_document
from medtune.serving.bound_session import OnDevice
from medtune.serving.decode import DecodeError, fit
from medtune.serving.image_source import ImageSource, as_list, read_image
from medtune.serving.manifest import BundleError
from medtune.serving.one_line import first_line
from medtune.serving.onnxruntime_version import MINIMUM, check_version
from medtune.serving.prediction import Prediction
from medtune.serving.session import PROVIDERS, open_session, operators

# Where bundle.json does not say what was measured.
SAMPLE_TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2, "int8": 5e-2}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle.

    Attributes:
        folder: where it lies.
        document: what its bundle.json says.
        precision: the precision in use.
        session: the onnxruntime session; may be used from several threads.
    """

    folder: Path
    document: dict[str, Any]
    precision: str
    session: onnxruntime.InferenceSession

    @classmethod
    def load(
        cls, folder: Path | str, precision: str = "fp32", provider: str = "cpu", threads: int = 0, spin: bool = True
    ) -> "Bundle":
        """The bundle at `folder`, every file checked against its sha256.

        Args:
            folder: the exported folder.
            precision: fp32, or another that bundle.json says is shipped.
            provider: cpu, cuda or tensorrt. What is asked for is used, or it is an error.
            threads: CPU threads of one prediction; 0: as many as there are cores.
            spin: idle threads wait busily while a prediction lasts; False where others want the cores then.

        Raises:
            BundleError: damaged, of another schema, without that precision, onnxruntime is too old, the provider
                is not active, or this CPU computes int8 otherwise than the one that exported it.
        """
        folder = Path(folder)
        document = bundle_document.read(folder)
        offered = document["precisions"].get(precision)
        if not offered or not offered["shipped"]:
            shipped = [name for name, entry in document["precisions"].items() if entry["shipped"]]
            reason = f" ({offered['reason']})" if offered else ""
            raise BundleError(f"{folder} has no {precision} model{reason}; it has: {', '.join(shipped)}")
        for name in document["files"]:
            bundle_document.read_file(folder, document, name)
        check_version(document.get("requires", {}).get("onnxruntime", MINIMUM))
        content = bundle_document.read_file(folder, document, offered["file"])
        given = document["input"]["name"], document["preprocessing"]["image_size"]
        session = open_session(content, offered["file"], provider, precision, threads, spin, given)
        _check_graph(session, document, f"{folder / offered['file']}")
        if counts := operators(session):
            placed = ", ".join(f"{count} operators on {name}" for name, count in counts.items())
            log.info("%s: %s", offered["file"], placed)
        bundle = cls(folder, document, precision, session)
        if precision == "int8":  # x86 without VNNI adds pairs of products in 16 bits, and may overflow there
            bundle.self_test()
        return bundle

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of the probabilities' columns."""
        return self.document["classes"]

    @property
    def image_size(self) -> int:
        """Side of the images the network takes, pixels."""
        return self.document["preprocessing"]["image_size"]

    @property
    def providers(self) -> list[str]:
        """Active onnxruntime providers, first choice first."""
        return self.session.get_providers()

    def prepare(self, source: ImageSource) -> np.ndarray:
        """An image as the uint8 (H, W, 3) that the network takes; what `source` can be: see `predict`.

        Raises:
            medtune.serving.decode.DecodeError: it cannot be used; the message is the reason.
        """
        return fit(read_image(source), self.image_size, self.document["preprocessing"]["resize"])

    def predict(self, images: ImageSource | Sequence[ImageSource], batch_size: int = 32) -> list[Prediction]:
        """Predict images of any size, each prepared as the training images were.

        Args:
            images: one image or several: a path, the bytes of an image file, a Pillow image, or an array uint8
                (h, w), (h, w, 3) or (h, w, 4). An array (n, h, w, 3) is n images.
            batch_size: images that the network takes at once.

        Returns:
            One prediction per image, in order.

        Raises:
            medtune.serving.decode.DecodeError: an image cannot be used; the message names it.
        """
        sources, results = as_list(images), []
        for start in range(0, len(sources), batch_size):
            batch = enumerate(sources[start : start + batch_size], start)
            probabilities = self.run(np.stack([self._prepare_named(source, index) for index, source in batch]))
            for label, row in zip(self.decide(probabilities), probabilities.tolist(), strict=True):
                results.append(Prediction.of(label, dict(zip(self.classes, row, strict=True))))
        return results

    def run(self, images: np.ndarray) -> np.ndarray:
        """Run the model on images of its own size: uint8 (N, H, W, 3) RGB.

        Returns:
            Calibrated class probabilities, float32 (N, classes).

        Raises:
            BundleError: the array is of another type or shape, or the network has another number of classes.
            RuntimeError: the network gave a probability that is not a number.
        """
        size = self.image_size
        if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3):
            raise BundleError(f"images are {images.dtype} {images.shape}; expected uint8 (N, {size}, {size}, 3)")
        if not len(images):
            return np.zeros((0, len(self.classes)), np.float32)
        probabilities = self._ask(images)
        if probabilities.shape != (len(images), len(self.classes)):
            raise BundleError(
                f"{self.folder}: the {self.precision} model gave {probabilities.shape} for {len(images)} images; "
                f"classes has {len(self.classes)} names"
            )
        if not np.isfinite(probabilities).all():
            raise RuntimeError(f"{self.folder}: the {self.precision} model gave NaN")
        return probabilities

    def _prepare_named(self, source: ImageSource, index: int) -> np.ndarray:
        try:
            return self.prepare(source)
        except DecodeError as error:
            name = source if isinstance(source, str | Path) else f"image {index}"
            raise DecodeError(f"{name}: {error}") from None

    @cached_property
    def _ask(self) -> Callable[[np.ndarray], np.ndarray]:
        given, wanted = self.document["input"]["name"], self.document["output"]["name"]
        if self.providers[0] == PROVIDERS["cpu"]:
            return lambda images: self.session.run([wanted], {given: np.ascontiguousarray(images)})[0]
        return OnDevice(self.session, given, wanted)

    def decide(self, probabilities: np.ndarray) -> list[str]:
        """Class names that the bundle's decision rule gives for (N, classes) probabilities."""
        return [self.classes[index] for index in decide(probabilities, self.document["decision"], self.classes)]

    def self_test(self) -> float:
        """Largest difference between the bundle's sample output and what is computed here.

        Raises:
            BundleError: it is more than this precision may differ.
        """
        samples, expected = (self._array(name) for name in ("sample_input.npy", "sample_output.npy"))
        difference = float(np.abs(self.run(samples) - expected).max())
        allowed = self.document["precisions"][self.precision].get("sample_tolerance")
        if difference > (allowed or SAMPLE_TOLERANCE[self.precision]):
            raise BundleError(
                f"{self.folder}: its {self.precision} samples come out {difference:.2g} off on {self.providers[0]}"
            )
        return difference

    def _array(self, name: str) -> np.ndarray:
        content = bundle_document.read_file(self.folder, self.document, name)
        try:
            return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)  # np.load takes more than .npy
        except Exception as error:  # the header is read as Python's syntax, and raises what its tokenizer raises
            raise BundleError(f"{self.folder / name} holds no plain array: {first_line(error)}") from None


def decide(probabilities: np.ndarray, decision: dict[str, Any], classes: Sequence[str]) -> np.ndarray:
    """Class indices (N,) for (N, classes) probabilities.

    Args:
        probabilities: rows that sum to 1.
        decision: `{"kind": "argmax"}`, or `{"kind": "threshold", "positive": class, "threshold": t}`: the
            positive class from t on, else the other one.
        classes: class names, in the order of the columns.
    """
    if decision["kind"] == "argmax":
        return probabilities.argmax(1)
    positive = list(classes).index(decision["positive"])
    return np.where(probabilities[:, positive] >= decision["threshold"], positive, 1 - positive)


def _check_graph(session: onnxruntime.InferenceSession, document: dict[str, Any], file: str) -> None:
    """Refuses a graph that is not the one bundle.json describes."""
    size, classes = document["preprocessing"]["image_size"], document["classes"]
    for part, nodes, kind, shape in (
        ("input", session.get_inputs(), "tensor(uint8)", (None, size, size, 3)),
        ("output", session.get_outputs(), "tensor(float)", (None, len(classes))),
    ):
        name, named = document[part]["name"], {node.name: node for node in nodes}
        if name not in named:
            raise BundleError(f"{part}.name is {name!r}, but the {part}s of {file} are {', '.join(named)}")
        node = named[name]
        fits = len(node.shape) == len(shape) and all(
            wanted == given
            for wanted, given in zip(shape, node.shape, strict=True)
            if wanted and isinstance(given, int)
        )
        if node.type != kind or not fits:
            raise BundleError(
                f"{part} {name!r} of {file} is {node.type} {node.shape}, which is not what bundle.json says: "
                f"preprocessing.image_size {size}, {len(classes)} classes"
            )

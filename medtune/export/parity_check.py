"""Real test images of the exported fold, and the trained network's own outputs for them."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import ExportParams
from medtune.evaluation.slides import slide_probabilities
from medtune.export import parity
from medtune.runtime.progress import progress
from medtune.serving import tasks
from medtune.tasks import base

if TYPE_CHECKING:
    from torch import nn

    from medtune.data.manifest import PreparedDataset

BATCH_SIZE = 32


@dataclass(frozen=True)
class ParityCheck:
    """What an exported graph is compared on.

    Attributes:
        prepared: the data.
        indices: rows of the images that are compared.
        images: (n, H, W, 3) uint8.
        reference: (n, ...) outputs of the exported module, eager fp32 on the CPU.
        document: bundle.json so far.
    """

    prepared: "PreparedDataset"
    indices: np.ndarray
    images: np.ndarray
    reference: np.ndarray
    document: dict[str, Any]

    @classmethod
    def build(
        cls, model: "nn.Module", prepared: "PreparedDataset", fold: int, document: dict[str, Any], n: int
    ) -> "ParityCheck":
        """`n` test images of the fold, or all where there are fewer, spread over the classes.

        Of a set of tiles they are whole slides, one at least, with `n` tiles at most.
        """
        import torch

        test = prepared.indices(fold)["test"]
        if prepared.slides:
            indices = parity.whole_slides(prepared.slides, prepared.labels, test, n)
        else:
            indices = parity.stratified_sample(prepared.labels, test, n)
        images = np.ascontiguousarray(prepared.images[indices])
        parts = []
        with torch.inference_mode(), progress("export: reference", len(images), "images") as advance:
            for start in range(0, len(images), BATCH_SIZE):
                parts.append(model(torch.from_numpy(images[start : start + BATCH_SIZE])).numpy())
                advance(len(parts[-1]))
        return cls(prepared, indices, images, np.concatenate(parts), document)

    @property
    def task(self) -> base.Export:
        """The task's part that export uses."""
        return base.export(self.document["task"]["kind"])

    @property
    def labels(self) -> np.ndarray:
        """(n,) class indices."""
        return self.prepared.labels[self.indices]

    def samples(self, n: int) -> np.ndarray:
        """`n` of the images, spread over the classes."""
        return self.images[parity.stratified_sample(self.labels, np.arange(len(self.images)), n)]

    def subset(self, n: int) -> "ParityCheck":
        """The same on at most `n` of the images, spread over the classes."""
        selected = parity.stratified_sample(self.labels, np.arange(len(self.images)), n)
        return replace(
            self, indices=self.indices[selected], images=self.images[selected], reference=self.reference[selected]
        )

    def evaluate(
        self, predict: Callable[[np.ndarray], np.ndarray], precision: str, params: ExportParams
    ) -> tuple[dict[str, Any], str | None]:
        """Parity figures of `predict` as this precision, and why it must not be shipped, if so."""
        task = self.task
        targets = self._units(self.reference)[1]
        tolerance = params.fp32_tolerance if precision == "fp32" else params.fp16_tolerance
        metrics = parity.compare_outputs(
            self.reference,
            predict,
            self.images,
            lambda reference, found: task.agreement(
                self._units(reference)[2], self._units(found)[2], targets, self.document, tolerance
            ),
            params.batch_sizes,
        )
        return metrics, parity.rejection_reason(metrics, precision, params, task.rejection_reason)

    def _units(self, output: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Paths, targets and outputs of what is predicted: the images, or the slides that they are tiles of."""
        if not self.prepared.slides:
            return [self.prepared.paths[row] for row in self.indices], self.prepared.targets[self.indices], output
        slides, rows, found = slide_probabilities(self.prepared, self.indices, output, self.document["temperature"])
        return [slides.paths[row] for row in rows], slides.labels[rows], found

    def compare_with_predictions(
        self, predict: Callable[[np.ndarray], np.ndarray], path: Path, tolerance: float
    ) -> dict[str, Any]:
        """How far the consumer's `predict` is from what evaluate wrote into predictions.csv.

        Raises:
            RuntimeError: further than `tolerance`; names the image.
        """
        serving = tasks.find(self.document["task"]["kind"])
        assert serving is not None
        columns = serving.columns(self.document)
        written: dict[str, list[dict[str, str]]] = {}
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                written.setdefault(row["path"], []).append(row)
        found = np.concatenate(
            [predict(self.images[i : i + BATCH_SIZE]) for i in range(0, len(self.images), BATCH_SIZE)]
        )
        names, _, found = self._units(found)

        def distance(values: list[Any], row: dict[str, str]) -> float:
            pairs = zip(columns, values, strict=True)
            return max(abs(value - float(row[name])) for name, value in pairs if isinstance(value, float))

        # Some protocols test an image in two folds: it is there twice, once by this network.
        off = [
            min(distance(values, row) for row in written[name])
            for name, values in zip(names, serving.rows(found, self.document), strict=True)
        ]
        worst = int(np.argmax(off))
        if off[worst] > tolerance:
            raise RuntimeError(
                f"export: the bundle gives {names[worst]} values {off[worst]:.2g} off those in {path.name}; "
                f"{tolerance:g} is allowed"
            )
        return {"against": path.name, "images": len(off), "max_abs_diff": off[worst], "tolerance": tolerance}

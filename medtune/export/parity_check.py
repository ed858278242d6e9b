"""Parity check for images: comparison of an exported model with the trained networks on real test images."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import ExportParams
from medtune.evaluation.slides import member_probabilities, slide_probabilities
from medtune.export import parity
from medtune.export.onnx_outputs import stack_outputs
from medtune.runtime.progress import progress
from medtune.serving import tasks
from medtune.serving.slides import aggregate
from medtune.tasks import base

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset
    from medtune.export.ensemble import Ensemble

BATCH_SIZE = 32


@dataclass(frozen=True)
class ParityCheck:
    """Images and expected outputs for the comparison with an exported graph.

    Attributes:
        prepared: prepared data.
        indices: (n,) indices of the compared images.
        images: (n, H, W, 3) uint8.
        reference: outputs of the PyTorch module in fp32 on the CPU, in the layout of `stack_outputs`: (n, 1 + M, ...),
            or (n, M, ...) for tiles.
        document: content of bundle.json, to which the export adds its results later.
    """

    prepared: "PreparedDataset"
    indices: np.ndarray
    images: np.ndarray
    reference: np.ndarray
    document: dict[str, Any]

    @classmethod
    def build(
        cls, model: "Ensemble", prepared: "PreparedDataset", folds: Sequence[int], document: dict[str, Any], n: int
    ) -> "ParityCheck":
        """Select up to `n` test images of the folds, balanced over the classes, and compute their outputs.

        If the images are tiles, complete slides are selected.

        Args:
            model: PyTorch module that is exported.
            prepared: prepared data.
            folds: test folds of the networks.
            document: content of bundle.json, to which the export adds its results later.
            n: largest number of images. A single slide may have more tiles.

        Returns:
            The check.
        """
        import torch

        test = np.unique(np.concatenate([prepared.indices(fold)["test"] for fold in folds]))
        if prepared.slide_of_tile:
            indices = parity.sample_slides(prepared.slide_of_tile, prepared.labels, test, n)
        else:
            indices = parity.stratified_sample(prepared.labels, test, n)
        images = np.ascontiguousarray(prepared.images[indices])
        parts = []
        with torch.inference_mode(), progress("export: reference", len(images), "images") as advance:
            for start in range(0, len(images), BATCH_SIZE):
                outputs = model(torch.from_numpy(images[start : start + BATCH_SIZE]))
                parts.append(stack_outputs(model.names, [output.numpy() for output in outputs]))
                advance(len(parts[-1]))
        return cls(prepared, indices, images, np.concatenate(parts), document)

    @property
    def task(self) -> base.Export:
        """Export functions of the task."""
        return base.export(self.document["task"]["kind"])

    @property
    def labels(self) -> np.ndarray:
        """(n,) class indices of the images."""
        labels: np.ndarray = self.prepared.labels[self.indices]
        return labels

    @property
    def weighted(self) -> bool:
        """True if the outputs are not probabilities, but unbounded logits and attention scores of tiles."""
        return self.document.get("aggregation") == aggregate.ATTENTION

    @property
    def scale(self) -> float:
        """Factor for tolerances of outputs: 1 for probabilities, otherwise at least the largest absolute output."""
        return max(1.0, float(np.abs(self.reference).max())) if self.weighted else 1.0

    def _comparable(self, output: np.ndarray) -> np.ndarray:
        """Convert outputs to values from 0 to 1. Logits become probabilities, and scores become their sigmoid."""
        if not self.weighted:
            return output
        scores = 1 / (1 + np.exp(-np.clip(output[..., -1:].astype(np.float64), -50, 50)))
        return np.concatenate([aggregate.tile_probabilities(output, aggregate.ATTENTION), scores], axis=-1)

    def samples(self, n: int) -> np.ndarray:
        """Return at most `n` of the images, balanced over the classes."""
        return self.images[parity.stratified_sample(self.labels, np.arange(len(self.images)), n)]

    def subset(self, n: int) -> "ParityCheck":
        """Return a check with at most `n` of the images, balanced over the classes."""
        selected = parity.stratified_sample(self.labels, np.arange(len(self.images)), n)
        return replace(
            self, indices=self.indices[selected], images=self.images[selected], reference=self.reference[selected]
        )

    def evaluate(
        self, predict: Callable[[np.ndarray], np.ndarray], precision: str, params: ExportParams
    ) -> tuple[dict[str, Any], str | None]:
        """Check an exported model.

        Args:
            predict: exported model, from uint8 (b, H, W, 3) to outputs in the layout of `reference`.
            precision: fp32, fp16 or int8.
            params: section `export` of the params.

        Returns:
            Parity metrics, and the reason why the precision must not be shipped; None if it passes.
        """
        task = self.task
        targets = self._units(self.reference)[1]
        tolerance = params.fp32_tolerance if precision == "fp32" else params.fp16_tolerance

        def agreement(reference: np.ndarray, outputs: np.ndarray) -> dict[str, Any]:
            expected, actual = self._units(reference)[2], self._units(outputs)[2]
            distance = float(np.abs(expected - actual).max())
            slides = {"max_abs_diff_slides": distance if np.isfinite(distance) else None} if self.weighted else {}
            return slides | task.agreement(expected, actual, targets, self.document, tolerance)

        metrics = parity.compare_outputs(
            self.reference,
            predict,
            self.images,
            agreement,
            params.batch_sizes,
            self._comparable,
        )
        if self.weighted and not metrics["nan"]:
            metrics["max_abs_diff"] = max(metrics["max_abs_diff"], metrics["max_abs_diff_slides"])
        return metrics, parity.rejection_reason(metrics, precision, params, task.rejection_reason)

    def _units(self, output: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Return the paths, targets and outputs of the images, or of the slides if the images are tiles."""
        if not self.prepared.slide_of_tile:
            names = [self.prepared.paths[row] for row in self.indices]
            return names, self.prepared.targets[self.indices], output[:, 0]
        slides, rows, probabilities = slide_probabilities(self.prepared, self.indices, output, self.document)
        return [slides.paths[row] for row in rows], slides.labels[rows], probabilities

    def compare_with_predictions(
        self, run_members: Callable[[np.ndarray], np.ndarray], folds: Sequence[int], path: Path, tolerance: float
    ) -> dict[str, Any]:
        """Compare each network of the bundle with the predictions that stage evaluate wrote.

        Args:
            run_members: function of the bundle, from images to the outputs (n, M, ...) of its M networks.
            folds: test fold of each network.
            path: CSV file with the test predictions of all folds.
            tolerance: largest allowed difference.

        Returns:
            JSON values: `against`, `images`, `max_abs_diff` and `tolerance`.

        Raises:
            RuntimeError: a difference is larger than `tolerance`. The message names the image.
        """
        serving = tasks.find(self.document["task"]["kind"])
        assert serving is not None
        columns = serving.columns(self.document)
        written: dict[str, list[dict[str, str]]] = {}
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                written.setdefault(row["path"], []).append(row)
        outputs = np.concatenate(
            [run_members(self.images[i : i + BATCH_SIZE]) for i in range(0, len(self.images), BATCH_SIZE)]
        )
        data, rows = self.prepared, self.indices
        if self.prepared.slide_of_tile:
            data, rows, outputs = member_probabilities(self.prepared, self.indices, outputs, self.document)

        def distance(values: list[Any], row: dict[str, str]) -> float:
            pairs = zip(columns, values, strict=True)
            return max(abs(value - float(row[name])) for name, value in pairs if isinstance(value, float))

        names, differences = [], []
        for member, fold in enumerate(folds):
            tested = np.flatnonzero(np.isin(rows, data.indices(fold)["test"]))
            for position, values in zip(tested, serving.rows(outputs[tested, member], self.document), strict=True):
                names.append(data.paths[rows[position]])
                # Some protocols test an image in two folds. The more similar of its rows is from this network.
                differences.append(min(distance(values, row) for row in written[names[-1]]))
        worst = int(np.argmax(differences))
        if differences[worst] > tolerance:
            raise RuntimeError(
                f"export: the bundle's prediction for {names[worst]} differs from {path.name} by "
                f"{differences[worst]:.2g}, but the allowed difference is {tolerance:g}"
            )
        return {
            "against": path.name,
            "images": len(differences),
            "max_abs_diff": differences[worst],
            "tolerance": tolerance,
        }

"""Real test images, and the trained networks' own outputs for them."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import ExportParams
from medtune.evaluation.slides import member_probabilities, slide_probabilities
from medtune.export import parity
from medtune.export.onnx_outputs import stacked
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
    """What an exported graph is compared on.

    Attributes:
        prepared: the data.
        indices: rows of the images that are compared.
        images: (n, H, W, 3) uint8.
        reference: outputs of the exported module, eager fp32 on the CPU, as
            `medtune.export.onnx_outputs.stacked` gives them: (n, 1 + M, ...), or (n, M, ...) of tiles.
        document: bundle.json so far.
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
        """`n` test images of the folds, or all where there are fewer, spread over the classes.

        Of a set of tiles they are whole slides, one at least, with `n` tiles at most.
        """
        import torch

        test = np.unique(np.concatenate([prepared.indices(fold)["test"] for fold in folds]))
        if prepared.slides:
            indices = parity.whole_slides(prepared.slides, prepared.labels, test, n)
        else:
            indices = parity.stratified_sample(prepared.labels, test, n)
        images = np.ascontiguousarray(prepared.images[indices])
        parts = []
        with torch.inference_mode(), progress("export: reference", len(images), "images") as advance:
            for start in range(0, len(images), BATCH_SIZE):
                found = model(torch.from_numpy(images[start : start + BATCH_SIZE]))
                parts.append(stacked(model.names, [output.numpy() for output in found]))
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

    @property
    def weighted(self) -> bool:
        """Whether the outputs are evidence and attention scores of tiles, which have no bounds, not probabilities."""
        return self.document.get("aggregation") == aggregate.ATTENTION

    @property
    def scale(self) -> float:
        """What tolerances for outputs are multiplied by: 1 for probabilities, else the largest output."""
        return max(1.0, float(np.abs(self.reference).max())) if self.weighted else 1.0

    def _comparable(self, output: np.ndarray) -> np.ndarray:
        """Values from 0 to 1 whose differences count: of tiles alone their probabilities and squashed scores."""
        if not self.weighted:
            return output
        scores = 1 / (1 + np.exp(-np.clip(output[..., -1:].astype(np.float64), -50, 50)))
        return np.concatenate([aggregate.tile_probabilities(output, aggregate.ATTENTION), scores], axis=-1)

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

        def agreement(reference: np.ndarray, found: np.ndarray) -> dict[str, Any]:
            before, after = self._units(reference)[2], self._units(found)[2]
            distance = float(np.abs(before - after).max())
            slides = {"max_abs_diff_slides": distance if np.isfinite(distance) else None} if self.weighted else {}
            return slides | task.agreement(before, after, targets, self.document, tolerance)

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
        """Paths, targets and outputs of what is predicted: the images, or the slides that they are tiles of."""
        if not self.prepared.slides:
            names = [self.prepared.paths[row] for row in self.indices]
            return names, self.prepared.targets[self.indices], output[:, 0]
        slides, rows, found = slide_probabilities(self.prepared, self.indices, output, self.document)
        return [slides.paths[row] for row in rows], slides.labels[rows], found

    def compare_with_predictions(
        self, run_members: Callable[[np.ndarray], np.ndarray], folds: Sequence[int], path: Path, tolerance: float
    ) -> dict[str, Any]:
        """How far each network of the bundle is from what evaluate wrote about its own test images.

        Args:
            run_members: images to (n, M, ...), the bundle.
            folds: test fold of each network.
            path: predictions of all folds.
            tolerance: largest difference.

        Raises:
            RuntimeError: it is larger; names the image.
        """
        serving = tasks.find(self.document["task"]["kind"])
        assert serving is not None
        columns = serving.columns(self.document)
        written: dict[str, list[dict[str, str]]] = {}
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                written.setdefault(row["path"], []).append(row)
        found = np.concatenate(
            [run_members(self.images[i : i + BATCH_SIZE]) for i in range(0, len(self.images), BATCH_SIZE)]
        )
        data, rows = self.prepared, self.indices
        if self.prepared.slides:
            data, rows, found = member_probabilities(self.prepared, self.indices, found, self.document)

        def distance(values: list[Any], row: dict[str, str]) -> float:
            pairs = zip(columns, values, strict=True)
            return max(abs(value - float(row[name])) for name, value in pairs if isinstance(value, float))

        names, off = [], []
        for member, fold in enumerate(folds):
            own = np.flatnonzero(np.isin(rows, data.indices(fold)["test"]))
            for position, values in zip(own, serving.rows(found[own, member], self.document), strict=True):
                names.append(data.paths[rows[position]])
                # Some protocols test an image in two folds: it is there twice, once by this network.
                off.append(min(distance(values, row) for row in written[names[-1]]))
        worst = int(np.argmax(off))
        if off[worst] > tolerance:
            raise RuntimeError(
                f"export: the bundle gives {names[worst]} values {off[worst]:.2g} off those in {path.name}; "
                f"{tolerance:g} is allowed"
            )
        return {"against": path.name, "images": len(off), "max_abs_diff": off[worst], "tolerance": tolerance}

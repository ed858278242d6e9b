"""Real test images of the exported fold, and the trained network's own outputs for them."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import ExportParams
from medtune.export import parity
from medtune.runtime.progress import progress
from medtune.serving import tasks
from medtune.tasks import base

if TYPE_CHECKING:
    from torch import nn

    from medtune.data.manifest import PreparedDataset

BATCH = 32


@dataclass(frozen=True)
class Trial:
    """What an exported graph is compared on.

    Attributes:
        prepared: the data.
        chosen: rows of the images that are compared.
        images: (n, H, W, 3) uint8.
        reference: (n, ...) outputs of the exported module, eager fp32 on the CPU.
        document: bundle.json so far.
    """

    prepared: "PreparedDataset"
    chosen: np.ndarray
    images: np.ndarray
    reference: np.ndarray
    document: dict[str, Any]

    @classmethod
    def of(
        cls, model: "nn.Module", prepared: "PreparedDataset", fold: int, document: dict[str, Any], n: int
    ) -> "Trial":
        """`n` test images of the fold, or all where there are fewer, spread over the classes."""
        import torch

        chosen = parity.spread(prepared.labels, prepared.indices(fold)["test"], n)
        images = np.ascontiguousarray(prepared.images[chosen])
        parts = []
        with torch.inference_mode(), progress("export: reference", len(images), "images") as advance:
            for start in range(0, len(images), BATCH):
                parts.append(model(torch.from_numpy(images[start : start + BATCH])).numpy())
                advance(len(parts[-1]))
        return cls(prepared, chosen, images, np.concatenate(parts), document)

    @property
    def task(self) -> base.Export:
        """The task's part that export uses."""
        return base.export(self.document["task"]["kind"])

    @property
    def labels(self) -> np.ndarray:
        """(n,) class indices."""
        return self.prepared.labels[self.chosen]

    def samples(self, n: int) -> np.ndarray:
        """`n` of the images, spread over the classes."""
        return self.images[parity.spread(self.labels, np.arange(len(self.images)), n)]

    def first(self, n: int) -> "Trial":
        """The same on at most `n` of the images, spread over the classes."""
        kept = parity.spread(self.labels, np.arange(len(self.images)), n)
        return replace(self, chosen=self.chosen[kept], images=self.images[kept], reference=self.reference[kept])

    def judge(
        self, predict: Callable[[np.ndarray], np.ndarray], precision: str, params: ExportParams
    ) -> tuple[dict[str, Any], str | None]:
        """Parity figures of `predict` as this precision, and why it must not be shipped, if so."""
        task = self.task
        targets = self.prepared.targets[self.chosen]
        tolerance = params.fp32_tolerance if precision == "fp32" else params.fp16_tolerance
        figures = parity.measure(
            self.reference,
            predict,
            self.images,
            lambda reference, found: task.agreement(reference, found, targets, self.document, tolerance),
            params.batch_sizes,
        )
        return figures, parity.refusal(figures, precision, params, task.refusal)

    def against_predictions(
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
        found = np.concatenate([predict(self.images[i : i + BATCH]) for i in range(0, len(self.images), BATCH)])
        names = [self.prepared.paths[row] for row in self.chosen]

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

"""Real test images of the exported fold, and what the trained network itself says of them."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import ExportParams
from medtune.export import parity
from medtune.runtime.progress import progress
from medtune.tasks.classification import decision

if TYPE_CHECKING:
    from medtune.data.manifest import Prepared
    from medtune.export.onnx_graph import Deployed

BATCH = 32


@dataclass(frozen=True)
class Trial:
    """What an exported graph is compared on.

    Attributes:
        prepared: the data.
        chosen: rows of the images that are compared.
        images: (n, H, W, 3) uint8.
        reference: (n, classes) probabilities of the trained network, eager fp32 on the CPU.
        rule: the decision.
    """

    prepared: "Prepared"
    chosen: np.ndarray
    images: np.ndarray
    reference: np.ndarray
    rule: dict[str, Any]

    @classmethod
    def of(cls, model: "Deployed", prepared: "Prepared", fold: int, rule: dict[str, Any], n: int) -> "Trial":
        """`n` test images of the fold, or all where there are fewer, spread over the classes."""
        import torch

        chosen = parity.spread(prepared.labels, prepared.indices(fold)["test"], n)
        images = np.ascontiguousarray(prepared.images[chosen])
        parts = []
        with torch.inference_mode(), progress("export: reference", len(images), "images") as advance:
            for start in range(0, len(images), BATCH):
                parts.append(model(torch.from_numpy(images[start : start + BATCH])).numpy())
                advance(len(parts[-1]))
        return cls(prepared, chosen, images, np.concatenate(parts), rule)

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
        figures = parity.measure(
            self.reference,
            predict,
            self.images,
            self.labels,
            lambda probabilities: decision.apply(self.rule, probabilities, self.prepared.classes),
            params.batch_sizes,
            params.fp32_tolerance if precision == "fp32" else params.fp16_tolerance,
        )
        return figures, parity.refusal(figures, precision, params)

    def against_predictions(
        self, predict: Callable[[np.ndarray], np.ndarray], path: Path, tolerance: float
    ) -> dict[str, Any]:
        """How far the consumer's `predict` is from what evaluate wrote into predictions.csv.

        Raises:
            RuntimeError: further than `tolerance`; names the image.
        """
        written: dict[str, list[list[float]]] = {}
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                values = [float(row[f"prob_{name}"]) for name in self.prepared.classes]
                written.setdefault(row["path"], []).append(values)
        found = np.concatenate([predict(self.images[i : i + BATCH]) for i in range(0, len(self.images), BATCH)])
        names = [self.prepared.paths[row] for row in self.chosen]
        # Some protocols test an image in two chains: it is there twice, once by this network.
        off = [
            min(float(np.abs(row - np.array(old)).max()) for old in written[name])
            for name, row in zip(names, found, strict=True)
        ]
        worst = int(np.argmax(off))
        if off[worst] > tolerance:
            raise RuntimeError(
                f"export: the bundle gives {names[worst]} probabilities {off[worst]:.2g} off those in {path.name}; "
                f"{tolerance:g} is allowed"
            )
        return {"against": path.name, "images": len(off), "max_abs_diff": off[worst], "tolerance": tolerance}

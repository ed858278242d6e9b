"""Parity check for volumes: comparison of windows, and of the label maps of complete volumes.

A window is the part of a volume that the network predicts at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import ExportParams
from medtune.data.wording import wording
from medtune.export import parity
from medtune.export.check import Predict
from medtune.export.onnx_file import RunningGraph
from medtune.export.onnx_outputs import stack_outputs
from medtune.export.parity_windows import limit_windows, sample_windows
from medtune.runtime.progress import progress
from medtune.serving.volumes.document import VolumeSettings
from medtune.serving.volumes.network_features import FEATURES, KEY
from medtune.serving.volumes.pipeline import segment
from medtune.serving.volumes.sliding_window import Run
from medtune.tasks import base

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset
    from medtune.export.volume_ensemble import VolumeEnsemble

# Maximum number of volumes that are segmented completely.
MAX_VOLUMES = 4
# Maximum size of the outputs of all windows in memory, in bytes.
MAX_BYTES = 256 << 20
# Windows whose features are compared.
N_FEATURES = 8
# Largest change of the distance of features as a fraction of its limit.
MAX_DISTANCE_CHANGE = {"fp32": 1e-3, "fp16": 0.1}
# Voxels of a batch of windows. Larger batch sizes are left out.
MAX_BATCH_VOXELS = 2 << 20


@dataclass(frozen=True)
class WindowCheck:
    """Windows and volumes with the outputs of the trained networks.

    Attributes:
        prepared: prepared data.
        document: content of bundle.json, to which the export adds its results later.
        images: (n, C, X, Y, Z) float32 windows.
        masks: (n, X, Y, Z) uint8 masks of the windows.
        reference: (n, 1 + M, K, X, Y, Z) outputs of the PyTorch module in fp32 on the CPU: the mean and M networks.
        rows: rows of the volumes that are segmented completely; empty to compare windows only.
        labels: label map of each volume on the grid of its file, without post-processing.
        features: (m, M, F) whitened features of the first windows; None if the module computes none.
    """

    prepared: "PreparedDataset"
    document: dict[str, Any]
    images: np.ndarray
    masks: np.ndarray
    reference: np.ndarray
    rows: tuple[int, ...] = ()
    labels: tuple[np.ndarray, ...] = ()
    features: np.ndarray | None = None

    scale = 1.0

    @classmethod
    def build(
        cls,
        model: "VolumeEnsemble",
        prepared: "PreparedDataset",
        rows: np.ndarray,
        document: dict[str, Any],
        n: int,
        seed: int,
    ) -> "WindowCheck":
        """Select windows and volumes and compute their outputs.

        Args:
            model: PyTorch module that is exported.
            prepared: prepared data.
            rows: rows of the test volumes.
            document: content of bundle.json, to which the export adds its results later.
            n: largest number of windows.
            seed: random seed.

        Returns:
            The check.
        """
        import torch

        settings = VolumeSettings.from_document(document)
        window_bytes = 4 * (1 + len(model.networks)) * (1 + len(document["classes"])) * int(np.prod(settings.patch))
        count = max(1, min(n, MAX_BYTES // window_bytes))
        order = np.random.default_rng(seed).permutation(rows)
        windows, masks = sample_windows(prepared.volumes, order.tolist(), settings.patch, settings.overlap, count, seed)

        def outputs(inputs: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return stack_outputs(model.names, [output.numpy() for output in model(torch.from_numpy(inputs))])

        parts = []
        with progress("export: reference", len(windows), "windows") as advance:
            for window in windows:
                parts.append(outputs(window[None]))
                advance(1)
        features = None
        if FEATURES in model.names:
            with torch.inference_mode():
                features = model(torch.from_numpy(windows[:N_FEATURES]))[model.names.index(FEATURES)].numpy()
        check = cls(prepared, document, windows, masks, np.concatenate(parts), features=features)
        chosen = parity.stratified_sample(prepared.labels, order, MAX_VOLUMES).tolist()
        chosen = limit_windows(prepared.volumes, chosen, settings.patch, settings.overlap)
        labels = check.segment_all(lambda inputs: outputs(inputs)[:, 0], chosen, "export: reference")
        return replace(check, rows=tuple(chosen), labels=labels)

    @property
    def task(self) -> base.Export:
        """Export functions of the task."""
        return base.export(self.document["task"]["kind"])

    def samples(self, n: int) -> np.ndarray:
        """Return only one window, because windows may be large. It contains the highest label of all windows."""
        rarest = int(self.masks.reshape(len(self.masks), -1).max(axis=1).argmax())
        return self.images[rarest : rarest + min(n, 1)]

    def subset(self, n: int) -> "WindowCheck":
        """Return a check with at most `n` of the windows and without volumes."""
        return replace(
            self,
            images=self.images[:n],
            masks=self.masks[:n],
            reference=self.reference[:n],
            rows=(),
            labels=(),
            features=None if self.features is None else self.features[:n],
        )

    def evaluate(self, predict: Predict, precision: str, params: ExportParams) -> tuple[dict[str, Any], str | None]:
        """Check an exported model.

        For fp32, the probabilities of all voxels of the windows are compared. The other precisions change probabilities
        by rounding, so only their label maps are compared.

        Args:
            predict: exported model, from windows (b, ...) to outputs in the layout of `reference`.
            precision: fp32, fp16 or int8.
            params: section `export` of the params.

        Returns:
            Parity metrics, and the reason why the precision must not be shipped; None if it passes.
        """
        task, tolerance = self.task, params.fp32_tolerance if precision == "fp32" else params.fp16_tolerance

        def agreement(reference: np.ndarray, outputs: np.ndarray) -> dict[str, Any]:
            return task.agreement(reference[:, 0], outputs[:, 0], self.masks, self.document, tolerance)

        voxels = int(np.prod(self.images.shape[2:]))
        sizes = [size for size in params.batch_sizes if size * voxels <= MAX_BATCH_VOXELS] or [min(params.batch_sizes)]
        metrics = parity.compare_outputs(self.reference, predict, self.images, agreement, sizes)
        metrics = {"windows": metrics.pop("images"), **metrics}
        if self.features is not None:
            metrics["features"] = self._compare_features(predict, self.features)
            change = metrics["features"]["distance_change"]
            if change is None or change > MAX_DISTANCE_CHANGE[precision]:
                return metrics, f"features differ by {change} of the limit of their distance"
        if metrics["nan"] or precision == "fp32":
            reason = parity.rejection_reason(metrics, precision, params, lambda *_: None)
            if reason is not None:
                return metrics, reason
        if self.rows:
            labels = self.segment_all(lambda inputs: predict(inputs)[:, 0], self.rows, f"export: {precision}")
            metrics["volumes"] = task.compare_volumes(self.prepared, self.rows, self.labels, labels)  # type: ignore[attr-defined]
        return metrics, task.rejection_reason(metrics, precision, params)

    def _compare_features(self, predict: Predict, expected: np.ndarray) -> dict[str, Any]:
        """Return the largest difference of a feature, and of the distance as a fraction of its limit."""
        assert isinstance(predict, RunningGraph)
        difference = predict.output(FEATURES, self.images[: len(expected)]) - expected
        limit = self.document["volumes"][KEY]["limit"]
        change = float(np.sqrt((difference.astype(np.float64) ** 2).sum(axis=-1)).max()) / limit
        return {
            "windows": len(expected),
            "max_abs_diff": float(np.abs(difference).max()) if np.isfinite(change) else None,
            "distance_change": change if np.isfinite(change) else None,
        }

    def segment_all(self, run: Run, rows: Sequence[int], text: str) -> tuple[np.ndarray, ...]:
        """Segment complete volumes without post-processing.

        Args:
            run: function from windows to the mean probabilities.
            rows: rows of the volumes.
            text: text of the progress bar.

        Returns:
            Label maps, uint8, on the grids of the files, with axes in the orientation RAS.
        """
        settings, store, maps = VolumeSettings.from_document(self.document), self.prepared.volumes, []
        n_labels = len(self.document["classes"])
        with progress(text, len(rows), wording(self.prepared.info).items) as advance:
            for row in rows:
                entry = store.entries[row]
                x, y, z = entry.original_shape
                maps.append(
                    segment(
                        store.image(row), (x, y, z), entry.spacing, settings.preparation, run, settings.patch,
                        settings.overlap, n_labels, views=settings.views,
                    ).labels
                )  # fmt: skip
                advance(1)
        return tuple(maps)

"""Precisions of a bundle (fp32, fp16 and int8).

For each precision, a graph is created and compared with the trained network. If it passes this parity check, it is
written to the bundle ("shipped").
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medtune.config.schema import ExportParams
from medtune.export.onnx_file import MAX_INLINE_BYTES, predictor_of, run_session, weight_bytes, write_graph
from medtune.runtime import console
from medtune.serving.manifest import BundleError
from medtune.serving.samples import SAMPLE_TOLERANCE
from medtune.serving.session import open_session

if TYPE_CHECKING:
    import onnx
    import onnxruntime

    from medtune.export.check import Check

FILES = {"fp32": "model.onnx", "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}
N_SAMPLES = 4
# Number of images for the check of the fp16 file itself. An emulation of the file is checked on all images.
N_FILE_CHECKS = 32
SPEED_BATCHES = (1, 32)  # batch sizes of the speed measurement of int8
# Added to the tolerance of the self-test of int8. Other CPUs round the fp32 parts differently, which may change a value
# by one 8-bit step.
INT8_MARGIN = 2e-2
ExportedPrecision = tuple["onnx.ModelProto", dict[str, Any], str | None]


@dataclass(frozen=True)
class PrecisionExporter:
    """Exporter of the precisions of one bundle.

    Attributes:
        fp32: exported graph, from which the other precisions are created.
        check: parity check for every precision.
        calibration: function that returns training inputs (n, ...), or raises ValueError if int8 is not supported.
        params: section `export` of the params, with the tolerances.
        max_inline_bytes: largest size of weights in the file of the graph, in bytes. A second file stores larger
            weights. The entry `external_data` of bundle.json contains its name.
    """

    fp32: "onnx.ModelProto"
    check: "Check"
    calibration: Callable[[], np.ndarray]
    params: ExportParams
    max_inline_bytes: int = MAX_INLINE_BYTES

    def export(self, tmp_dir: Path, manifest: dict[str, Any], precision: str) -> None:
        """Write the file of one precision if it passes the parity check. Record the result in the manifest.

        Args:
            tmp_dir: folder for the file.
            manifest: content of bundle.json, which is changed.
            precision: fp32, fp16 or int8.

        Raises:
            RuntimeError: fp32 does not pass the parity check.
        """
        entry: dict[str, Any] = {"file": FILES[precision], "shipped": False, "reason": None}
        manifest["precisions"][precision], manifest["parity"][precision] = entry, None
        try:
            build = {"fp32": self._fp32, "fp16": self._fp16, "int8": self._int8}[precision]
            graph, manifest["parity"][precision], entry["reason"] = build(entry)
        except (ValueError, BundleError) as error:  # not convertible, or onnxruntime cannot load the result
            entry["reason"] = str(error)
        if entry["reason"] is None:
            if external := write_graph(graph, tmp_dir / entry["file"], self.max_inline_bytes):
                entry["external_data"] = external
            entry["shipped"] = True
        elif precision == "fp32":
            raise RuntimeError(f"export: the ONNX graph does not match the trained network: {entry['reason']}")
        else:
            console.info(f"export: {precision} is not shipped: {entry['reason']}")

    def _open(self, graph: "onnx.ModelProto", busy_wait: bool = True) -> Callable[[np.ndarray], np.ndarray]:
        return predictor_of(graph, self.max_inline_bytes, busy_wait)

    def _fp32(self, entry: dict[str, Any]) -> ExportedPrecision:
        if self.check.scale > 1:
            entry["sample_tolerance"] = SAMPLE_TOLERANCE["fp32"] * self.check.scale
        return self.fp32, *self.check.evaluate(self._open(self.fp32), "fp32", self.params)

    def _fp16(self, entry: dict[str, Any]) -> ExportedPrecision:
        """Convert the graph to fp16. An emulation of it is compared on all inputs, and its file on some."""
        from medtune.export.fp16 import to_half

        # On a CPU, onnxruntime computes fp16 graphs in fp32. The emulation gives the results of a GPU.
        emulated = self._open(to_half(self.fp32, True, self.max_inline_bytes))
        graph = to_half(self.fp32, False, self.max_inline_bytes)
        metrics, reason = self.check.evaluate(emulated, "fp16", self.params)
        on_cpu, reason_on_cpu = self.check.subset(N_FILE_CHECKS).evaluate(self._open(graph), "fp16", self.params)
        # For volumes, label maps are compared, so the outputs may differ by more than the tolerance.
        difference = 2 * (metrics["max_abs_diff"] or 0.0)
        tolerance = max(SAMPLE_TOLERANCE["fp16"], self.params.fp16_tolerance) * self.check.scale
        entry["sample_tolerance"] = max(tolerance, difference if "windows" in metrics else 0.0)
        metrics |= {"measured_on": "fp16 arithmetic emulated, sums in fp32", "file_on_cpu": on_cpu}
        return graph, metrics, reason or reason_on_cpu

    def _int8(self, entry: dict[str, Any]) -> ExportedPrecision:
        """Quantize the graph. It is shipped if it passes the parity check and is fast enough compared with fp32."""
        from medtune.export import latency
        from medtune.export.int8 import to_int8

        if weight_bytes(self.fp32) > self.max_inline_bytes:
            raise ValueError("onnxruntime cannot quantize a graph with weights in a separate file")
        images = self.calibration()
        console.info(f"export: int8, calibrated on {len(images)} training images")
        graph = to_int8(self.fp32, images)
        # With `busy_wait`, the idle threads of one session would slow down the other session.
        predictors = {
            "fp32": self._open(self.fp32, busy_wait=False),
            "int8": self._open(graph, busy_wait=False),
        }
        metrics, reason = self.check.evaluate(predictors["int8"], "int8", self.params)
        times = latency.speedups(
            latency.benchmark_interleaved(predictors, self.check.images, SPEED_BATCHES), "fp32", "int8"
        )
        samples = self.check.samples(N_SAMPLES)
        difference = float(np.abs(predictors["int8"](samples) - predictors["fp32"](samples)).max())
        entry |= {
            "calibration_images": len(images),
            **self.check.task.losses(metrics),
            "speedup": min(times.values()),
            "speedup_by_batch_size": times,
            "sample_tolerance": round(difference + INT8_MARGIN * self.check.scale, 4) if not metrics["nan"] else None,
        }
        return graph, metrics, "; ".join(filter(None, (reason, self._too_slow(entry["speedup"])))) or None

    def _too_slow(self, speedup: float) -> str | None:
        """Return the reason if the speedup of int8 is too small, otherwise None."""
        if speedup >= self.params.int8_min_speedup:
            return None
        return (
            f"{speedup:.2f} times as fast as fp32 here, below export.int8_min_speedup={self.params.int8_min_speedup:g}"
        )


def session(
    graph: bytes, folder: Path | None = None, external: list[str] | None = None, busy_wait: bool = True
) -> "onnxruntime.InferenceSession":
    """Open an exported graph on the CPU.

    Args:
        graph: content of the ONNX file.
        folder: folder of the files in `external`.
        external: names of the files with weights; None if the graph contains its weights.
        busy_wait: let idle threads spin, which is faster unless several sessions run.

    Returns:
        The session.
    """
    return open_session(
        graph, FILES["fp32"], "cpu", "fp32", busy_wait=busy_wait, folder=folder, external=external or ()
    )


def predictor(graph: bytes, busy_wait: bool = True) -> Callable[[np.ndarray], np.ndarray]:
    """Open an exported graph, and return a function from its input (b, ...) to the result of `stack_outputs`."""
    return run_session(session(graph, busy_wait=busy_wait))

"""`python -m benchmarks.inference`: compare the speed of eager torch and of the exported ONNX graph in fp32 and int8.

The three engines run alternately in one process with the same number of threads, so other work on the machine affects
all of them.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
import typer

from benchmarks import results
from medtune.cli import program
from medtune.runtime import console

if TYPE_CHECKING:
    from benchmarks.inference_model import InferenceModel

# Smallest ratio of images per second of the fp32 graph to those of torch, by backbone.
TARGETS = {"deit_tiny_patch16_224": 1.15, "mobilenetv2_100": 3.0}
INT8_TARGET = 1.5
CALIBRATION_IMAGES = 32
EAGER, ONNX, INT8 = "torch", "onnx", "onnx int8"

EngineResult = dict[str, Any]


def measure(
    backbone: str, *, size: int, batches: Sequence[int], threads: int, rounds: int, weights: str = "none",
    head: str = "linear", arguments: dict[str, Any] | None = None,
) -> list[EngineResult]:  # fmt: skip
    """Measure images per second for each batch size and engine, and the speedups over torch and the fp32 graph.

    Args:
        backbone: timm name.
        size: side of the images, pixels.
        batches: batch sizes.
        threads: CPU threads of each engine.
        rounds: interleaved rounds; medians are taken.
        weights: none (random), or a file.
        head: kind of the head.
        arguments: arguments of the backbone.

    Returns:
        One row per batch size and engine.

    Raises:
        RuntimeError: the exported graph and the network give different probabilities.
    """
    from medtune.export.latency import benchmark_interleaved

    model = _build_model(backbone, size, weights, head, arguments or {})
    images = np.random.default_rng(0).integers(0, 256, (max(batches), size, size, 3), dtype=np.uint8)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        engines, differences, refused = _engines(model, images, size, threads)
        seconds_by_batch = benchmark_interleaved(engines, images, batches, rounds)
    finally:
        torch.set_num_threads(threads_before)
    rows: list[EngineResult] = []
    for batch, seconds in seconds_by_batch.items():
        for engine in (*engines, *([INT8] if refused else [])):
            row: EngineResult = {
                "backbone": backbone, "head": head, "size": size, "batch": batch, "threads": threads, "engine": engine,
                "images_per_s": None, "speedup_over_torch": None, "speedup_over_onnx": None,
                "max_abs_diff": differences.get(engine), "refused": None,
            }  # fmt: skip
            if engine in seconds:
                row["images_per_s"] = batch / seconds[engine]
                row["speedup_over_torch"] = seconds[EAGER] / seconds[engine]
                row["speedup_over_onnx"] = seconds[ONNX] / seconds[engine]
            else:
                row["refused"] = refused
            rows.append(row)
    return rows


def _build_model(backbone: str, size: int, weights: str, head: str, arguments: dict[str, Any]) -> "InferenceModel":
    from benchmarks.inference_model import InferenceModel
    from medtune.config.load import validate
    from medtune.models.classifier import build

    model = {"backbone": backbone, "weights": weights, "backbone_args": arguments}
    params = validate(
        {
            "data": {"source": "synthetic", "image_size": size},
            "model": {**model, "head": {"kind": head}, "peft": {"method": "none"}},
        }
    )
    return InferenceModel(build(params, 2), 1.0)


def _engines(
    model: "InferenceModel", images: np.ndarray, size: int, threads: int
) -> tuple[dict[str, Callable[[np.ndarray], np.ndarray]], dict[str, float], str | None]:
    """Return the engines, their largest differences from torch, and the reason if int8 is refused (or None)."""
    from medtune.export.int8 import to_int8
    from medtune.export.onnx_graph import to_onnx
    from medtune.serving.session import open_session

    def eager(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(model(torch.from_numpy(batch)).numpy())

    def exported(graph: bytes) -> Callable[[np.ndarray], np.ndarray]:
        session = open_session(graph, "the exported graph", "cpu", "fp32", threads)
        return lambda batch: session.run(None, {"images": batch})[0]

    graph, refused = to_onnx(model, size, 20, {}), None
    engines = {EAGER: eager, ONNX: exported(graph.SerializeToString())}
    try:
        shape = (CALIBRATION_IMAGES, size, size, 3)
        calibration_images = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
        engines[INT8] = exported(to_int8(graph, calibration_images).SerializeToString())
    except ValueError as error:
        refused = str(error)
    reference = eager(images)
    differences = {name: float(np.abs(run(images) - reference).max()) for name, run in engines.items()}
    if not differences[ONNX] < 1e-4:
        raise RuntimeError(
            f"the probabilities of the exported graph differ from those of torch by up to {differences[ONNX]:.2g}"
        )
    return engines, differences, refused


def report(rows: Sequence[EngineResult]) -> None:
    """Print `rows` with their targets."""
    for row in rows:
        name = f"{row['backbone']}, {row['size']} px, batch {row['batch']}, {row['threads']} threads: {row['engine']}"
        if row["refused"]:
            console.info(f"{name}: refused: {row['refused']}")
            continue
        console.info(f"{name}: {row['images_per_s']:.1f} images/s" + _details(row))


def _details(row: EngineResult) -> str:
    if row["engine"] == ONNX:
        target = TARGETS.get(row["backbone"].partition(".")[0])
        return f", {row['speedup_over_torch']:.2f}x torch" + (f" (target {target:g}x)" if target else "")
    if row["engine"] == INT8:
        verdict = "" if row["speedup_over_onnx"] >= INT8_TARGET else ": the export would refuse this graph"
        return (
            f", {row['speedup_over_torch']:.2f}x torch, {row['speedup_over_onnx']:.2f}x onnx fp32 "
            f"(target {INT8_TARGET:g}x{verdict}); "
            f"the probabilities differ from torch by up to {row['max_abs_diff']:.1g}"
        )
    return ""


def to_rows(rows: Sequence[EngineResult]) -> list[results.Row]:
    """Convert `rows` to `results.Row`. The reference of the fp32 graph is torch, and that of int8 is the fp32 graph."""
    rates = {(row["batch"], row["engine"]): row["images_per_s"] for row in rows}
    converted = []
    for row in rows:
        if row["engine"] == EAGER or row["refused"]:
            continue
        int8 = row["engine"] == INT8
        target = INT8_TARGET if int8 else TARGETS.get(row["backbone"].partition(".")[0])
        name = f"{row['backbone']} at {row['size']} px, batch {row['batch']}: {row['engine']}"
        note = f"{row['threads']} threads, random weights; "
        note += f"the probabilities differ from torch by up to {row['max_abs_diff']:.1g}"
        if int8:
            note += "; the export refuses an int8 graph that misses the target"
        converted.append(
            results.Row(name, row["images_per_s"], "images/s", ONNX if int8 else EAGER,
                       rates[row["batch"], ONNX if int8 else EAGER],
                       row["speedup_over_onnx" if int8 else "speedup_over_torch"], target, note=note)
        )  # fmt: skip
    return converted


def run(
    backbone: Annotated[str, typer.Option(help="timm names, separated by commas.")] = ",".join(TARGETS),
    weights: Annotated[str, typer.Option(help="none, or a file of one backbone.")] = "none",
    size: Annotated[int, typer.Option(help="Side of the images, pixels.")] = 224,
    batches: Annotated[str, typer.Option(help="Batch sizes, separated by commas.")] = "1,32",
    threads: Annotated[int, typer.Option(help="CPU threads of each engine.")] = 2,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds; medians are reported.")] = 9,
    head: Annotated[str, typer.Option(help="Kind of the head.")] = "linear",
    save: results.Save = False,
) -> None:
    """Compare images per second of the exported graph and of eager torch, both including preprocessing."""
    import onnxruntime

    console.info(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, uint8 pixels to probabilities")
    all_rows = []
    for name in backbone.split(","):
        sizes = [int(text) for text in batches.split(",")]
        rows = measure(name, size=size, batches=sizes, threads=threads, rounds=rounds, weights=weights, head=head)
        report(rows)
        all_rows += to_rows(rows)
    results.finish("inference", all_rows, save, show=False)


if __name__ == "__main__":
    program.run(run)

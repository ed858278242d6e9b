"""An ONNX graph as a file, with its weights inside or, above protobuf's limit, in a second file beside it."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

from medtune.export.onnx_outputs import stacked
from medtune.serving.session import open_session

# Protobuf cannot write more than 2 GiB; the rest of the graph is far below the difference.
MAX_INLINE_BYTES = 1_900_000_000
# Smaller tensors stay in the graph.
MIN_EXTERNAL_BYTES = 1024
Predict = Callable[[np.ndarray], np.ndarray]


def weight_bytes(graph: onnx.ModelProto) -> int:
    """Return the size of the graph's weights."""
    return sum(len(tensor.raw_data) for tensor in graph.graph.initializer)


def check_graph(graph: onnx.ModelProto, limit: int = MAX_INLINE_BYTES) -> None:
    """Check a graph as the onnx package does.

    Raises:
        onnx.checker.ValidationError: it is not a valid graph.
    """
    if weight_bytes(graph) <= limit:
        onnx.checker.check_model(graph, full_check=True)
        return
    with tempfile.TemporaryDirectory(prefix="medtune-onnx-") as folder:
        write_graph(graph, Path(folder) / "model.onnx", limit)
        onnx.checker.check_model(str(Path(folder) / "model.onnx"))


def write_graph(graph: onnx.ModelProto, path: Path, limit: int = MAX_INLINE_BYTES) -> list[str]:
    """Write a graph.

    Args:
        graph: unchanged afterwards.
        path: the file.
        limit: bytes of weights above which they go into `<path>.data`.

    Returns:
        Names of the files with weights beside `path`; none if they are inside.
    """
    if weight_bytes(graph) <= limit:
        path.write_bytes(graph.SerializeToString())
        return []
    data = f"{path.name}.data"
    path.with_name(data).unlink(missing_ok=True)  # onnx would append to it
    onnx.save_model(
        graph,
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=data,
        size_threshold=min(MIN_EXTERNAL_BYTES, limit),
    )
    onnx.load_external_data_for_model(graph, str(path.parent))  # writing took the weights out of the graph
    for tensor in graph.graph.initializer:
        tensor.ClearField("data_location")
    return [data]


def open_graph(path: Path, external: list[str], busy_wait: bool = True) -> Predict:
    """Open a written graph on the CPU: uint8 (b, H, W, 3) to what `medtune.export.onnx_outputs.stacked` gives."""
    opened = open_session(
        path.read_bytes(), path.name, "cpu", "fp32", busy_wait=busy_wait, folder=path.parent, external=external
    )
    names = [node.name for node in opened.get_outputs()]
    return lambda images: stacked(names, opened.run(None, {"images": images}))


def predictor_of(graph: onnx.ModelProto, limit: int = MAX_INLINE_BYTES, busy_wait: bool = True) -> Predict:
    """Open a graph that is not written yet."""
    with tempfile.TemporaryDirectory(prefix="medtune-onnx-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.onnx"
        return open_graph(path, write_graph(graph, path, limit), busy_wait)

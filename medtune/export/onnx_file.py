"""Reading and writing of ONNX files. If the weights exceed the size limit of protobuf, a second file stores them."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from medtune.export.onnx_outputs import stack_outputs
from medtune.serving.session import open_session

if TYPE_CHECKING:
    import onnxruntime

# Largest weights in the file of the graph. Protobuf cannot write more than 2 GiB, and the graph itself needs space too.
MAX_INLINE_BYTES = 1_900_000_000
# Smaller tensors stay in the file of the graph.
MIN_EXTERNAL_BYTES = 1024
Predict = Callable[[np.ndarray], np.ndarray]


def weight_bytes(graph: onnx.ModelProto) -> int:
    """Return the size of the graph's weights in bytes."""
    return sum(len(tensor.raw_data) for tensor in graph.graph.initializer)


def check_graph(graph: onnx.ModelProto, limit: int = MAX_INLINE_BYTES) -> None:
    """Check a graph with the checker of the onnx package.

    Args:
        graph: graph to check.
        limit: bytes of weights above which the check uses a temporary file.

    Raises:
        onnx.checker.ValidationError: the graph is not valid.
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
        graph: graph to write. After the call, it is unchanged.
        path: file to write.
        limit: bytes of weights above which the weights are written to `<path>.data`.

    Returns:
        Names of the files with weights next to `path`; empty if the graph contains its weights.
    """
    if weight_bytes(graph) <= limit:
        path.write_bytes(graph.SerializeToString())
        return []
    data = f"{path.name}.data"
    path.with_name(data).unlink(missing_ok=True)  # onnx would append to an existing file
    onnx.save_model(
        graph,
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=data,
        size_threshold=min(MIN_EXTERNAL_BYTES, limit),
    )
    onnx.load_external_data_for_model(graph, str(path.parent))  # writing removed the weights from the graph
    for tensor in graph.graph.initializer:
        tensor.ClearField("data_location")
    return [data]


def open_graph(path: Path, external: list[str], busy_wait: bool = True) -> Predict:
    """Open a graph file on the CPU.

    Args:
        path: file of the graph.
        external: names of the files with weights, from `write_graph`.
        busy_wait: let idle threads spin, which is faster unless several sessions run.

    Returns:
        A function from the input (b, ...) to the result of `stack_outputs`.
    """
    opened = open_session(
        path.read_bytes(), path.name, "cpu", "fp32", busy_wait=busy_wait, folder=path.parent, external=external
    )
    return run_session(opened)


class RunningGraph:
    """Function from the only input of a session (b, ...) to the result of `stack_outputs`."""

    def __init__(self, session: "onnxruntime.InferenceSession") -> None:
        self._session = session
        self._names, (source,) = [node.name for node in session.get_outputs()], session.get_inputs()
        self._source = source.name

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Run the graph and stack its outputs."""
        return stack_outputs(self._names, self._session.run(None, {self._source: inputs}))

    def output(self, name: str, inputs: np.ndarray) -> np.ndarray:
        """Run the graph and return one of its outputs."""
        return np.asarray(self._session.run([name], {self._source: inputs})[0])


def run_session(session: "onnxruntime.InferenceSession") -> RunningGraph:
    """Return the graph of a session as a function."""
    return RunningGraph(session)


def predictor_of(graph: onnx.ModelProto, limit: int = MAX_INLINE_BYTES, busy_wait: bool = True) -> Predict:
    """Write a graph to a temporary file and open it.

    Args:
        graph: graph to open.
        limit: bytes of weights above which a second file stores them.
        busy_wait: see `open_graph`.

    Returns:
        A function from the input (b, ...) to the result of `stack_outputs`.
    """
    with tempfile.TemporaryDirectory(prefix="medtune-onnx-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.onnx"
        return open_graph(path, write_graph(graph, path, limit), busy_wait)

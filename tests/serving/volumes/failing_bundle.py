"""Bundle whose network fails on some volumes, in a way that onnxruntime notices only while it runs."""

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.serving.volumes import tiny_volume_bundle as tiny

# An index that does not exist, or an array that no machine can allocate.
Failure = Literal["index", "memory"]
# Value of a voxel with which the network fails. Rule `window` of the bundle maps it to -1.
FATAL_VALUE = 0.0
_LIMIT = -0.99
_HUGE = 2**46


def write_failing_bundle(folder: Path, failure: Failure) -> Path:
    """Write the bundle of `tiny_volume_bundle` with a network that fails if a voxel of a window is `FATAL_VALUE`."""
    tiny.write_bundle(folder)
    model = onnx.load_from_string((folder / "model.onnx").read_bytes())
    graph, nodes = model.graph, list(model.graph.node)
    graph.initializer.extend([
        numpy_helper.from_array(np.array(_LIMIT, np.float32), "limit"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array([0], np.float32), "table"),
        numpy_helper.from_array(np.array(_HUGE, np.int64), "huge"),
    ])  # fmt: skip
    check = [
        helper.make_node("ReduceMin", ["windows"], ["lowest"], keepdims=0),
        helper.make_node("Less", ["lowest", "limit"], ["is_fatal"]),
        helper.make_node("Cast", ["is_fatal"], ["position"], to=TensorProto.INT64),
    ]
    if failure == "index":
        check.append(helper.make_node("Gather", ["table", "position"], ["zero"]))
    else:
        check += [
            helper.make_node("Mul", ["position", "huge"], ["extra"]),
            helper.make_node("Add", ["one", "extra"], ["count"]),
            helper.make_node("ConstantOfShape", ["count"], ["zeros"]),
            helper.make_node("ReduceMax", ["zeros"], ["zero"], keepdims=0),
        ]
    check.append(helper.make_node("Add", ["logits0", "zero"], ["checked"]))
    softmax = next(node for node in nodes if "logits0" in node.input)
    softmax.input[0] = "checked"
    position = nodes.index(softmax)
    del graph.node[:]
    graph.node.extend([*nodes[:position], *check, *nodes[position:]])
    onnx.checker.check_model(model)
    return tiny.replace_files(folder, {"model.onnx": model.SerializeToString()})

"""Known problems of fp16 in minimal graphs."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from medtune.export.fp16 import to_half

FLOAT = TensorProto.FLOAT


def model(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Build a graph from x (n, 4) float to y (n, 4) float."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    input_info = helper.make_tensor_value_info("x", FLOAT, ["n", 4])
    output_info = helper.make_tensor_value_info("y", FLOAT, ["n", 4])
    graph = helper.make_graph(nodes, "g", [input_info], [output_info], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(graph: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def eye(scale: float = 1.0) -> np.ndarray:
    return np.eye(4, dtype=np.float32) * scale


def types(graph: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of every operator except Cast, by output name without `.half`."""
    inferred = onnx.shape_inference.infer_shapes(graph).graph
    result = {v.name: v.type.tensor_type.elem_type for v in [*inferred.value_info, *inferred.output]}
    return {n.output[0].removesuffix(".half"): result[n.output[0]] for n in graph.graph.node if n.op_type != "Cast"}


def test_to_half__boundary_nodes_and_norms_remain_fp32():
    nodes = [
        helper.make_node("Mul", ["x", "k"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "w1"], ["a"]),
        helper.make_node("LayerNormalization", ["a", "k4"], ["b"]),
        helper.make_node("MatMul", ["b", "w1"], ["c"]),
        helper.make_node("Add", ["a", "c"], ["d"]),
        helper.make_node("MatMul", ["d", "w2"], ["e"]),
        helper.make_node("Softmax", ["e"], ["y"]),
    ]
    weights = {"w1": eye(), "w2": eye(), "k": np.float32(0.5), "k4": np.ones(4, np.float32)}
    half = to_half(model(nodes, weights))
    element_types = types(half)
    assert {name for name, element_type in element_types.items() if element_type == TensorProto.FLOAT16} == {
        "a",
        "c",
        "d",
    }
    assert {t.name: t.data_type for t in half.graph.initializer}["w2"] == FLOAT
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_allclose(run(half, x), run(model(nodes, weights), x), atol=1e-3)


def test_to_half__does_not_round_between_fp32_operators():
    """The converter of onnxruntime flushes the 1e-9 under a root to zero."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Mul", ["a", "zero"], ["none"]),
        helper.make_node("Pow", ["none", "two"], ["square"]),
        helper.make_node("Add", ["square", "epsilon"], ["safe"]),
        helper.make_node("Sqrt", ["safe"], ["root"]),
        helper.make_node("Div", ["a", "root"], ["b"]),
        helper.make_node("MatMul", ["none", "w"], ["c"]),
        helper.make_node("Add", ["b", "c"], ["y"]),
    ]
    weights = {"w": eye(), "zero": np.float32(0), "two": np.float32(2), "epsilon": np.float32(1e-9)}
    x = np.ones((1, 4), np.float32) * 0.01
    result = run(to_half(model(nodes, weights)), x)
    np.testing.assert_allclose(result, 0.01 / np.sqrt(1e-9), rtol=1e-3)


def test_to_half__reshaped_weights_are_stored_in_fp16():
    nodes = [
        helper.make_node("Reshape", ["flat", "shape"], ["square"]),
        helper.make_node("MatMul", ["x", "square"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    half = to_half(model(nodes, {"flat": eye().ravel(), "shape": np.array([4, 4]), "w": eye()}))
    assert {t.name: t.data_type for t in half.graph.initializer}["flat.half"] == TensorProto.FLOAT16
    assert types(half)["square"] == TensorProto.FLOAT16
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(run(half, x), x)


def overflow() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "big"], ["a"]),  # up to 160,000
        helper.make_node("MatMul", ["a", "small"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]
    return model(nodes, {"big": eye(400), "small": eye(1e-3), "w": eye()})


def test_to_half__emulation_reproduces_an_overflow():
    x = np.full((1, 4), 400, np.float32)
    assert np.isfinite(run(to_half(overflow()), x)).all()
    assert not np.isfinite(run(to_half(overflow(), emulate=True), x)).all()
    assert np.isfinite(run(to_half(overflow(), emulate=True), x / 10)).all()


def test_to_half__weights_beyond_fp16_are_an_error():
    graph = overflow()
    graph.graph.initializer[0].CopyFrom(numpy_helper.from_array(eye(1e5), "big"))
    with pytest.raises(ValueError, match=r"big has a value of 1e\+05, above the fp16 maximum of 65504"):
        to_half(graph)


def test_to_half__subgraphs_are_an_error():
    branch = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])], "b", [], [helper.make_tensor_value_info("z", FLOAT, ["n", 4])]
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    with pytest.raises(ValueError, match="subgraphs"):
        to_half(model([node], {"c": np.array(True)}))


def test_to_half__does_not_change_the_fp32_model():
    graph = overflow()
    before = graph.SerializeToString(deterministic=True)
    to_half(graph)
    assert graph.SerializeToString(deterministic=True) == before

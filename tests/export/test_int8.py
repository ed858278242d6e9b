"""Int8 graphs: quantized nodes, fp32 nodes, and similar outputs."""

import functools

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks.inference_model import InferenceModel
from medtune.export.int8 import BATCH_SIZE, QUANTIZED_OPS, to_int8
from medtune.export.onnx_graph import to_onnx

SIZE = 32
IMAGES = np.random.default_rng(0).integers(0, 256, (24, SIZE, SIZE, 3), dtype=np.uint8)


def quantized_nodes(model):
    """Return the nodes in `QUANTIZED_OPS` that read 8-bit values."""
    narrow = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    return [n for n in model.graph.node if n.op_type in QUANTIZED_OPS and set(n.input[:2]) <= narrow]


def run(graph: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


@functools.cache
def export(backbone: str, head: str) -> onnx.ModelProto:
    """Export a network; the tests share the graph and do not modify it."""
    from medtune.config.load import validate
    from medtune.models.classifier import build

    arguments = {"img_size": SIZE} if backbone == "test_vit" else {}
    model = {"backbone": backbone, "weights": "none", "backbone_args": arguments, "head": {"kind": head}}
    params = validate(
        {"data": {"source": "synthetic", "image_size": SIZE}, "model": model | {"peft": {"method": "none"}}}
    )
    return to_onnx(InferenceModel(build(params, 3), 1.7), SIZE, 20, {"key": "k"})


@pytest.mark.slow
@pytest.mark.xdist_group("int8")
@pytest.mark.parametrize(
    ("backbone", "head"), [("test_vit", "cdtm"), ("test_efficientnet", "linear"), ("test_resnet", "cdtm")]
)
def test_to_int8__is_close_and_boundary_nodes_remain_fp32(backbone, head):
    graph = export(backbone, head)
    before = graph.SerializeToString(deterministic=True)
    int8 = to_int8(graph, IMAGES)
    assert graph.SerializeToString(deterministic=True) == before
    assert int8.SerializeToString(deterministic=True) == to_int8(graph, IMAGES).SerializeToString(deterministic=True)
    assert [entry.value for entry in int8.metadata_props] == ["k"]
    assert len(int8.SerializeToString()) < 0.6 * len(graph.SerializeToString())

    layers = [node.name for node in int8.graph.node if node.op_type in QUANTIZED_OPS]
    quantized = {node.name for node in quantized_nodes(int8)}
    assert len(quantized) > 3
    assert not quantized & {layers[0], layers[-1]}
    int8_weights = [t for t in int8.graph.initializer if t.data_type == TensorProto.INT8 and len(t.dims) > 1]
    assert len(int8_weights) == len(quantized)  # weights are stored in 8 bits, once
    assert np.abs(run(int8, IMAGES) - run(graph, IMAGES)).max() < 0.05


@pytest.mark.slow
@pytest.mark.xdist_group("int8")
def test_to_int8__cdtm_mixing_matrices_are_quantized_per_column():
    int8 = to_int8(export("test_vit", "cdtm"), IMAGES)
    tensors = {t.name: t for t in int8.graph.initializer}
    centers, tokens = 300, 4
    (mixing,) = (t for t in tensors.values() if list(t.dims) == [centers, tokens * tokens])
    assert mixing.data_type == TensorProto.INT8
    (reader,) = (node for node in int8.graph.node if mixing.name in node.input)
    assert list(tensors[reader.input[1]].dims) == [tokens * tokens]


def image_graph(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Build a graph from images uint8 (n, 4) to y (n, 4)."""
    tensors = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    input_info = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 4])
    output_info = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    nodes = [helper.make_node("Cast", ["images"], ["x"], to=TensorProto.FLOAT), *nodes]
    graph = helper.make_graph(nodes, "g", [input_info], [output_info], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_to_int8__products_of_two_activations_and_boundary_nodes_remain_fp32():
    nodes = [helper.make_node("MatMul", [i, "w"], [o]) for i, o in (("x", "a"), ("a", "b"))]
    nodes += [helper.make_node("Transpose", ["b"], ["t"], perm=[1, 0]), helper.make_node("MatMul", ["t", "b"], ["s"])]
    nodes += [helper.make_node("MatMul", ["b", "s"], ["c"]), helper.make_node("MatMul", ["c", "w"], ["y"])]
    graph = image_graph(nodes, {"w": np.eye(4) / 64})
    images = np.random.default_rng(0).integers(0, 256, (2 * BATCH_SIZE + 1, 4), dtype=np.uint8)
    int8 = to_int8(graph, images)
    assert [node.output[0] for node in quantized_nodes(int8)] == ["b"]


def test_to_int8__graph_with_two_layers_is_an_error():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["y"])]
    with pytest.raises(ValueError, match="no layer to quantize"):
        to_int8(image_graph(nodes, {"w": np.eye(4)}), np.zeros((2, 4), np.uint8))


def test_to_int8__onnxruntime_error_is_reported():
    nodes = [helper.make_node("MatMul", [i, "w"], [o]) for i, o in (("x", "a"), ("a", "b"), ("b", "y"))]
    with pytest.raises(ValueError, match="onnxruntime cannot quantize the graph: "):
        to_int8(image_graph(nodes, {"w": np.eye(4)}), np.zeros((0, 4), np.uint8))

"""Conversion of an fp32 ONNX graph to mixed precision: matrix products in fp16, sensitive operators in fp32.

The converter of onnxruntime has three problems that this module avoids:
    - It rounds tensors between two fp32 operators to fp16.
    - onnxruntime cannot load its result if two nodes share weights.
    - It silently clips weights beyond the range of fp16.
"""

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from medtune.export.onnx_file import MAX_INLINE_BYTES, MIN_EXTERNAL_BYTES, check_graph, weight_bytes

FP16_OPS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Attention"})
# These operators run in fp16 if an input is fp16. Operators in neither set stay in fp32.
PASS_THROUGH_OPS = frozenset(
    """Add Sub Mul Neg Relu LeakyRelu PRelu Elu Gelu Erf Sigmoid Tanh HardSigmoid HardSwish Mish Swish Where MaxPool
    AveragePool GlobalMaxPool Transpose Reshape Flatten Squeeze Unsqueeze Slice Split Concat Gather Expand Tile Pad
    Identity DepthToSpace SpaceToDepth""".split()  # noqa: SIM905
)
# These operators only change the shape of a weight, so the weight can be stored in fp16.
SHAPE_OPS = frozenset({"Reshape", "Transpose"})
FP16_MAX = float(np.finfo(np.float16).max)


def to_half(model: onnx.ModelProto, emulate: bool = False, max_inline_bytes: int = MAX_INLINE_BYTES) -> onnx.ModelProto:
    """Convert a graph to fp16, from the first operator in `FP16_OPS` up to, but not including, the last one.

    Preprocessing, the last linear layer, calibration, softmax, inputs and outputs stay in fp32.

    Args:
        model: fp32 graph.
        emulate: return an fp32 graph that rounds the results of fp16 operators to fp16. On a CPU, this graph gives
            the results of the fp16 graph on a GPU. On a CPU, the fp16 graph itself would run in fp32 without rounding.
        max_inline_bytes: bytes of weights above which the graph is too large for protobuf. The types of its tensors
            are then inferred without the weights.

    Returns:
        A converted copy of the graph.

    Raises:
        ValueError: the graph has a part that cannot be converted safely.
    """
    typed = _with_types(model, max_inline_bytes)
    graph = typed.graph
    if typed.functions or any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute):
        raise ValueError("the graph has subgraphs")
    conversion = _Conversion(graph, emulate)
    boundary = _boundary_nodes(graph)
    for index, node in enumerate(graph.node):
        conversion.add(node, keep_fp32=index in boundary)
    conversion.finish([output.name for output in graph.output])

    used = {name for node in conversion.nodes for name in node.input}
    weights = [t for t in [*graph.initializer, *conversion.weights] if t.name in used]
    converted = helper.make_graph(conversion.nodes, graph.name, graph.input, graph.output, weights)
    half = onnx.ModelProto()
    half.CopyFrom(model)
    half.graph.CopyFrom(converted)
    check_graph(half, max_inline_bytes)
    return half


def _with_types(model: onnx.ModelProto, limit: int) -> onnx.ModelProto:
    """Return a copy of a graph with the types of all tensors. If the weights exceed `limit`, infer without them."""
    if weight_bytes(model) <= limit:
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)
    light = onnx.ModelProto()
    light.CopyFrom(model)
    for tensor in light.graph.initializer:
        if len(tensor.raw_data) > MIN_EXTERNAL_BYTES:  # smaller tensors may be shapes, which the inference needs
            tensor.ClearField("raw_data")
    typed = onnx.shape_inference.infer_shapes(light, strict_mode=True)
    for tensor, original in zip(typed.graph.initializer, model.graph.initializer, strict=True):
        tensor.raw_data = original.raw_data
    return typed


class _Conversion:
    """Graph under construction. The fp16 copy of a float tensor `x` is named `x.half` and created on first use.

    Attributes:
        weights: fp16 copies of weights.
        nodes: converted nodes, in order.
    """

    def __init__(self, graph: onnx.GraphProto, emulate: bool) -> None:
        self._emulate = emulate
        self.weights: list[TensorProto] = []
        self.nodes: list[NodeProto] = []
        self._fp32 = {tensor.name: tensor for tensor in graph.initializer}
        self._types = {tensor.name: tensor.data_type for tensor in graph.initializer}
        for value in (*graph.input, *graph.value_info, *graph.output):
            self._types[value.name] = value.type.tensor_type.elem_type
        self._computed_half: set[str] = set()
        self._available = {*self._fp32, *(value.name for value in graph.input)}

    def add(self, node: NodeProto, keep_fp32: bool) -> None:
        """Append a node. It is converted to fp16 if its operator is suitable, unless `keep_fp32` is True."""
        given_half = any(name in self._computed_half for name in node.input)
        of_weights = node.op_type in SHAPE_OPS and node.input[0] in self._fp32
        half = not keep_fp32 and (
            node.op_type in FP16_OPS or of_weights or (node.op_type in PASS_THROUGH_OPS and given_half)
        )
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [self._as_dtype(name, half) for name in node.input]
        self.nodes.append(copy)
        if half:
            self._half_outputs(copy)
            self._computed_half.update(node.output)
        self._available.update(copy.output)

    def _half_outputs(self, node: NodeProto) -> None:
        """Rename the float outputs of an fp16 node. In emulation, add nodes that round them."""
        for position, name in enumerate(node.output):
            if not self._is_float(name):
                continue
            node.output[position] = f"{name}.half"
            if self._emulate:
                node.output[position] = f"{name}.unrounded"
                self._round(f"{name}.unrounded", f"{name}.half")
                self._available.add(f"{name}.half")
        if node.op_type == "Attention" and not self._emulate:
            node.attribute.append(helper.make_attribute("softmax_precision", TensorProto.FLOAT))

    def _round(self, source: str, target: str) -> None:
        """Add nodes that round an fp32 tensor to fp16 and convert it back to fp32."""
        self._cast(source, f"{target}.rounded", TensorProto.FLOAT16)
        self._cast(f"{target}.rounded", target, TensorProto.FLOAT)

    def _cast(self, source: str, target: str, to: int) -> None:
        self.nodes.append(helper.make_node("Cast", [source], [target], name=f"{target}.cast", to=to))

    def finish(self, outputs: list[str]) -> None:
        """Add nodes that convert the graph outputs to fp32 under their original names."""
        for name in outputs:
            self._as_dtype(name, half=False)

    def _is_float(self, name: str) -> bool:
        """Return True if a tensor is float32. Raise ValueError if its type is unknown."""
        if name and name not in self._types:
            raise ValueError(f"the type of tensor {name!r} cannot be inferred")
        return bool(name) and self._types[name] == TensorProto.FLOAT

    def _as_dtype(self, name: str, half: bool) -> str:
        """Return the name of a tensor in fp16 or fp32. If necessary, add a weight or a node that creates it."""
        if not self._is_float(name):
            return name
        target, source = (f"{name}.half", name) if half else (name, f"{name}.half")
        if target not in self._available:
            self._available.add(target)
            if half and name in self._fp32:
                self.weights.append(_half_weight(self._fp32[name], target, np.float32 if self._emulate else np.float16))
            elif half and self._emulate:
                self._round(source, target)
            else:
                self._cast(source, target, TensorProto.FLOAT16 if half else TensorProto.FLOAT)
        return target


def _half_weight(tensor: TensorProto, name: str, stored: type[np.floating]) -> TensorProto:
    """Return a weight rounded to fp16 and stored as `stored`. Raise ValueError if a value exceeds the fp16 range."""
    values = numpy_helper.to_array(tensor)
    if values.size and (largest := float(np.abs(values).max())) > FP16_MAX:
        raise ValueError(f"{tensor.name} has a value of {largest:.3g}, above the fp16 maximum of {FP16_MAX:.0f}")
    return numpy_helper.from_array(values.astype(np.float16).astype(stored), name)


def _boundary_nodes(graph: onnx.GraphProto) -> set[int]:
    """Return the indices of the nodes that stay in fp32.

    These are the nodes before the first operator in `FP16_OPS`, its last operator, and the nodes after that.
    """
    before, seen = set(), {value.name for value in graph.input}
    weights = {tensor.name for tensor in graph.initializer}
    for index, node in enumerate(graph.node):
        dynamic = [name for name in node.input if name and name not in weights]
        if dynamic and node.op_type not in FP16_OPS and all(name in seen for name in dynamic):
            before.add(index)
            seen.update(node.output)
    needed, after = {value.name for value in graph.output}, set()
    for index, node in reversed(list(enumerate(graph.node))):
        if needed.intersection(node.output):
            after.add(index)
            if node.op_type not in FP16_OPS:
                needed.update(node.input)
    return before | after

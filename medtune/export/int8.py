"""An fp32 ONNX graph with its large products in 8 bits, for CPUs: static, quantise-dequantise (QDQ), weights a channel.

Ranges of what the products read come from calibration images. Weights have 8 bits, not the 7 that could not
overflow a sum of two in 16 bits on x86 without VNNI: seven cost accuracy on every machine (docs/log.md). What such
a CPU makes of it shows where the consumer runs the bundle's samples, which for int8 it always does.
"""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import NodeProto

from medtune.serving.one_line import first_line

if TYPE_CHECKING:
    from onnxruntime.quantization import CalibrationDataReader

QUANTIZED_OPS = frozenset({"Conv", "MatMul", "Gemm"})
# Folded into the convolution before them: clipping is what 8 bits do anyway.
FUSED_ACTIVATIONS = frozenset({"Relu", "Clip"})
# Everything else keeps its fp32: norms and softmax lose their small differences in 8 bits, GELU its tail, and an
# Add of a residual stream has outliers that would take all of the range. An Add between two 8-bit convolutions
# is fused with them by onnxruntime, without being named here.
BATCH_SIZE = 8


def to_int8(model: onnx.ModelProto, images: np.ndarray) -> onnx.ModelProto:
    """A copy of `model` whose convolutions and linear layers multiply 8-bit integers.

    What stays in fp32: see `excluded_nodes`, and all operators but `QUANTIZED_OPS` and `FUSED_ACTIVATIONS`.

    Args:
        model: an fp32 graph of one input.
        images: (n, H, W, 3) uint8 calibration images, as the graph takes them.

    Raises:
        ValueError: there is nothing to quantise, or onnxruntime cannot.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    source = _prepared(model)
    staying = excluded_nodes(source.graph)
    if not any(node.op_type in QUANTIZED_OPS and node.name not in staying for node in source.graph.node):
        raise ValueError("the graph has no layer to quantise between its first and its last")
    with tempfile.TemporaryDirectory(prefix="medtune-int8-") as folder:
        path = Path(folder) / "model.onnx"
        try:
            quantize_static(
                source,
                path,
                _reader(model.graph.input[0].name, images),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=sorted(QUANTIZED_OPS | FUSED_ACTIVATIONS),
                nodes_to_exclude=sorted(staying),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                # A linear layer is followed by fp32 (bias, norm, GELU): results in 8 bits would be widened at once.
                extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
            )
        except Exception as error:  # its errors are of many classes
            raise ValueError(f"onnxruntime cannot quantise it: {first_line(error)}") from error
        quantised = onnx.load(path)
    quantised.producer_name, quantised.producer_version = model.producer_name, model.producer_version
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(model.metadata_props)
    onnx.checker.check_model(quantised)
    return quantised


def excluded_nodes(graph: onnx.GraphProto) -> set[str]:
    """Names of the heavy nodes that stay in fp32.

    The first one (first convolution, patch embedding) reads pixels, whose range its few channels need. The last ones,
    one per network of an ensemble, are the classifiers, whose results probabilities are made of. A product of two
    activations (attention's scores, CDTM's mixed tokens) has no weights to store in 8 bits, and two ranges to get
    wrong.
    """
    weights = {tensor.name for tensor in graph.initializer}
    heavy = [node for node in graph.node if node.op_type in QUANTIZED_OPS]
    ends = {node.name for node in (*heavy[:1], *_last(graph))}
    return ends | {node.name for node in heavy if node.input[1] not in weights}


def _last(graph: onnx.GraphProto) -> list[NodeProto]:
    """The heavy nodes with no other heavy node between them and an output."""
    wanted, found = {value.name for value in graph.output}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            if node.op_type in QUANTIZED_OPS:
                found.append(node)
            else:
                wanted.update(node.input)
    return found


def quantized_nodes(model: onnx.ModelProto) -> list[NodeProto]:
    """The heavy nodes of `model` that read 8-bit values."""
    narrow = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    return [n for n in model.graph.node if n.op_type in QUANTIZED_OPS and set(n.input[:2]) <= narrow]


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with weights computed of weights alone folded (CDTM reshapes its mixing matrices), and names for all."""
    import onnxscript.optimizer

    source = onnx.ModelProto()
    source.CopyFrom(model)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    onnxscript.optimizer.fold_constants(source, input_size_limit=1 << 40, output_size_limit=1 << 40)
    for index, node in enumerate(source.graph.node):
        node.name = node.name or f"node_{index}"
    # Otherwise it warns that the graph was not prepared by its own tool, which needs sympy.
    onnx.helper.set_model_props(source, {"onnx.quant.pre_process": "onnxruntime.quant"})
    return source


def _reader(name: str, images: np.ndarray) -> "CalibrationDataReader":
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        """The images, a few at a time."""

        def __init__(self) -> None:
            self._batches: Iterator[np.ndarray] = (
                images[i : i + BATCH_SIZE] for i in range(0, len(images), BATCH_SIZE)
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._batches, None)
            return None if batch is None else {name: np.ascontiguousarray(batch)}

    return Reader()

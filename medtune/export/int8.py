"""Static int8 quantization of an fp32 ONNX graph for CPUs (QDQ format, per-channel weights).

Calibration images determine the ranges of activations. On x86 CPUs without the VNNI instructions, products of 8-bit
weights can overflow. `Bundle.load` runs the sample images of an int8 bundle and detects such an overflow. Weights of 7
bits would not overflow, but reduce the accuracy (docs/log.md).
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
# These activations are fused into the preceding convolution, because quantization clips its result too.
FUSED_ACTIVATIONS = frozenset({"Relu", "Clip"})
# All other operators stay in fp32. Norms, softmax and GELU need more precision, and residual sums have outliers.
BATCH_SIZE = 8


def to_int8(model: onnx.ModelProto, images: np.ndarray) -> onnx.ModelProto:
    """Quantize the convolutions and linear layers of a graph to 8-bit integers.

    The nodes in `excluded_nodes` stay in fp32.

    Args:
        model: fp32 graph with one input.
        images: (n, H, W, 3) uint8 calibration images.

    Returns:
        A quantized copy of the graph.

    Raises:
        ValueError: the graph has no layer to quantize, or onnxruntime cannot quantize it.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    source = _preprocess(model)
    excluded = excluded_nodes(source.graph)
    if not any(node.op_type in QUANTIZED_OPS and node.name not in excluded for node in source.graph.node):
        raise ValueError("the graph has no layer to quantize between its first and its last layer")
    with tempfile.TemporaryDirectory(prefix="medtune-int8-") as folder:
        path = Path(folder) / "model.onnx"
        try:
            quantize_static(
                source,
                path,
                _reader(model.graph.input[0].name, images),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=sorted(QUANTIZED_OPS | FUSED_ACTIVATIONS),
                nodes_to_exclude=sorted(excluded),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                # Operators in fp32 (bias, norm, GELU) follow a linear layer, so its results stay in fp32.
                extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
            )
        except Exception as error:  # onnxruntime raises many kinds of errors
            raise ValueError(f"onnxruntime cannot quantize the graph: {first_line(error)}") from error
        quantized = onnx.load(path)
    quantized.producer_name, quantized.producer_version = model.producer_name, model.producer_version
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    onnx.checker.check_model(quantized)
    return quantized


def excluded_nodes(graph: onnx.GraphProto) -> set[str]:
    """Return the names of the nodes in `QUANTIZED_OPS` that stay in fp32.

    The first node (a convolution or the patch embedding) reads pixels and needs their full range. The last node of each
    network computes the logits, which need full precision. Products of two activations (attention scores, the tokens
    of the head CDTM) have no weights to compress and are the most sensitive nodes.

    Args:
        graph: graph with a name for every node.
    """
    weights = {tensor.name for tensor in graph.initializer}
    candidates = [node for node in graph.node if node.op_type in QUANTIZED_OPS]
    ends = {node.name for node in (*candidates[:1], *_last(graph))}
    return ends | {node.name for node in candidates if node.input[1] not in weights}


def _last(graph: onnx.GraphProto) -> list[NodeProto]:
    """Return the nodes in `QUANTIZED_OPS` from which no other such node leads to an output."""
    needed, last = {value.name for value in graph.output}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            if node.op_type in QUANTIZED_OPS:
                last.append(node)
            else:
                needed.update(node.input)
    return last


def _preprocess(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph with folded constants and a name for every node."""
    import onnxscript.optimizer

    source = onnx.ModelProto()
    source.CopyFrom(model)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    onnxscript.optimizer.fold_constants(source, input_size_limit=1 << 40, output_size_limit=1 << 40)
    for index, node in enumerate(source.graph.node):
        node.name = node.name or f"node_{index}"
    # Without this property, onnxruntime recommends its own preprocessing tool, which needs the package sympy.
    onnx.helper.set_model_props(source, {"onnx.quant.pre_process": "onnxruntime.quant"})
    return source


def _reader(name: str, images: np.ndarray) -> "CalibrationDataReader":
    """Return a reader of the calibration images for the input `name`."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Reader of the calibration images in batches."""

        def __init__(self) -> None:
            self._batches: Iterator[np.ndarray] = (
                images[i : i + BATCH_SIZE] for i in range(0, len(images), BATCH_SIZE)
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._batches, None)
            return None if batch is None else {name: np.ascontiguousarray(batch)}

    return Reader()

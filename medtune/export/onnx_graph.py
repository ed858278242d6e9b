"""Export of a network to one ONNX graph. Its input is uint8 images or float32 windows (parts of volumes)."""

import io
import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import onnx
import torch
from torch import nn

from medtune.export import graph_input
from medtune.export.fused_attention import plain_attention, uses_fused_attention
from medtune.export.graph_input import GraphInput
from medtune.export.onnx_file import check_graph
from medtune.serving.one_line import first_line

INPUT = graph_input.IMAGES
# These loggers print pages about one error. `describe` makes one line of it.
QUIET = ("torch.onnx", "torch.export", "torch._dynamo", "torch._export", "torch.fx", "torch._functorch")
_OPERATOR = re.compile(r"torch\.ops\.([\w.]+)|op='([\w.]+)'|\b((?:aten|prims|torchvision)(?:::|\.)\w+)")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class ExportError(RuntimeError):
    """A part of the network has no ONNX counterpart. The message is one line and names the operator if known."""


def to_onnx(
    model: nn.Module,
    source: GraphInput | int,
    opset: int,
    metadata: Mapping[str, str],
    outputs: Sequence[str] = ("probabilities",),
) -> onnx.ModelProto:
    """Export a network to a checked fp32 ONNX graph with its weights, for any batch size.

    Args:
        model: network on the CPU, from a batch of inputs to a tuple of outputs.
        source: input of the graph. A number means square uint8 images with this side in pixels.
        opset: version of the ONNX operator set.
        metadata: properties of the graph, which ONNX viewers show.
        outputs: names of the outputs.

    Returns:
        The graph.

    Raises:
        ExportError: a part of the network has no ONNX counterpart.
    """
    if isinstance(source, int):
        source = graph_input.images(source)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = _export(model, source, opset, outputs)
        except torch.onnx.OnnxExporterError as error:
            if not uses_fused_attention(model):
                raise ExportError(describe(error)) from error
            try:
                with plain_attention(model):
                    program = _export(model, source, opset, outputs)
            except torch.onnx.OnnxExporterError as again:
                raise ExportError(describe(again)) from again
    graph: onnx.ModelProto = program.model_proto
    strip_debug_info(graph)
    onnx.helper.set_model_props(graph, dict(metadata))
    check_graph(graph)
    return graph


def _export(model: nn.Module, source: GraphInput, opset: int, outputs: Sequence[str]) -> Any:
    # The exporter prints the graph before some errors, so its output is discarded.
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return torch.onnx.export(
            model,
            (source.example(2),),  # the exporter treats a batch size of 1 as a constant
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=[source.name],
            output_names=list(outputs),
            opset_version=opset,
            external_data=False,
            optimize=True,
            verbose=False,
        )


def describe(error: BaseException) -> str:
    """Return a message with the unsupported operator, if known, and the first line of the original error."""
    errors: list[BaseException] = [error]
    while (inner := errors[-1].__cause__ or errors[-1].__context__) and len(errors) < 20:
        errors.append(inner)
    match = next((match for cause in errors for match in _OPERATOR.finditer(str(cause))), None)
    operator = next(filter(None, match.groups()), "") if match else ""
    reason = _ANSI.sub("", first_line(errors[-1]))
    name = f"operator {operator.removesuffix('.default')}: " if operator else ""
    return f"the network cannot be exported to ONNX ({name}{reason})"


def strip_debug_info(model: onnx.ModelProto) -> None:
    """Remove file paths and stack traces that the exporter stores for each node."""
    for holder in (model.graph, *model.functions):
        holder.doc_string = ""
        del holder.metadata_props[:]
        values = [*holder.value_info]
        if isinstance(holder, onnx.GraphProto):
            values += [*holder.input, *holder.output, *holder.initializer]
        for entry in (*holder.node, *values):
            entry.doc_string = ""
            del entry.metadata_props[:]

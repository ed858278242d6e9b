"""The network as a consumer gets it: one ONNX graph from uint8 pixels to the task's output."""

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

from medtune.export.fused_attention import plain_attention, uses_fused_attention
from medtune.export.onnx_file import check_graph
from medtune.serving.one_line import first_line

INPUT = "images"
# They print pages about what the error says in a line.
QUIET = ("torch.onnx", "torch.export", "torch._dynamo", "torch._export", "torch.fx", "torch._functorch")
_OPERATOR = re.compile(r"torch\.ops\.([\w.]+)|op='([\w.]+)'|\b((?:aten|prims|torchvision)(?:::|\.)\w+)")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class ExportError(RuntimeError):
    """A part of the network has no ONNX counterpart: one line of plain text that names the operator if it is known."""


def to_onnx(
    model: nn.Module,
    image_size: int,
    opset: int,
    metadata: Mapping[str, str],
    outputs: Sequence[str] = ("probabilities",),
) -> onnx.ModelProto:
    """`model` as a checked fp32 ONNX graph for any number of images, weights inside.

    Args:
        model: uint8 (B, H, W, 3) to its outputs, on the CPU.
        image_size: H = W, pixels.
        opset: ONNX operator set.
        metadata: written into the file, where ONNX viewers show it.
        outputs: their names.

    Raises:
        ExportError: a part of the network has no ONNX counterpart.
    """
    # A batch of one would be taken for a constant, and the graph would then hold for one image only.
    example = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = _export(model, example, opset, outputs)
        except torch.onnx.OnnxExporterError as error:
            if not uses_fused_attention(model):
                raise ExportError(describe(error)) from error
            try:
                with plain_attention(model):
                    program = _export(model, example, opset, outputs)
            except torch.onnx.OnnxExporterError as again:
                raise ExportError(describe(again)) from again
    graph = program.model_proto
    strip_debug_info(graph)
    onnx.helper.set_model_props(graph, dict(metadata))
    check_graph(graph)
    return graph


def _export(model: nn.Module, example: torch.Tensor, opset: int, outputs: Sequence[str]) -> Any:
    # Before some errors it prints the graph.
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            input_names=[INPUT],
            output_names=list(outputs),
            opset_version=opset,
            external_data=False,
            optimize=True,
            verbose=False,
        )


def describe(error: BaseException) -> str:
    """Return what the exporter could not write: the operator, and the first line of the innermost error."""
    chain: list[BaseException] = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) and len(chain) < 20:
        chain.append(inner)
    found = next((match for each in chain for match in _OPERATOR.finditer(str(each))), None)
    operator = next(filter(None, found.groups()), "") if found else ""
    reason = _ANSI.sub("", first_line(chain[-1]))
    name = f"operator {operator.removesuffix('.default')}: " if operator else ""
    return f"the network cannot be exported to ONNX ({name}{reason})"


def strip_debug_info(model: onnx.ModelProto) -> None:
    """Removes what the exporter notes of the Python that made each node: file paths, stack traces."""
    for holder in (model.graph, *model.functions):
        holder.doc_string = ""
        del holder.metadata_props[:]
        values = [*holder.value_info]
        if isinstance(holder, onnx.GraphProto):
            values += [*holder.input, *holder.output, *holder.initializer]
        for part in (*holder.node, *values):
            part.doc_string = ""
            del part.metadata_props[:]

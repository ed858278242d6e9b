"""The network as a consumer gets it: one ONNX graph from uint8 pixels to the task's output."""

import logging
import warnings
from collections.abc import Mapping

import onnx
import torch
from torch import nn

from medtune.serving.one_line import first_line

INPUT = "images"


def to_onnx(
    model: nn.Module, image_size: int, opset: int, metadata: Mapping[str, str], output: str = "probabilities"
) -> onnx.ModelProto:
    """`model` as a checked fp32 ONNX graph for any number of images, weights inside.

    Args:
        model: uint8 (B, H, W, 3) to its output, on the CPU.
        image_size: H = W, pixels.
        opset: ONNX operator set.
        metadata: written into the file, where ONNX viewers show it.
        output: name of the output.

    Raises:
        RuntimeError: a part of the network has no ONNX counterpart.
    """
    # A batch of one would be taken for a constant, and the graph would then hold for one image only.
    example = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
                input_names=[INPUT],
                output_names=[output],
                opset_version=opset,
                external_data=False,
                optimize=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise RuntimeError(f"the network cannot be written as ONNX: {first_line(error)}") from error
    graph = program.model_proto  # type: ignore[union-attr]
    strip_debug_info(graph)
    onnx.helper.set_model_props(graph, dict(metadata))
    onnx.checker.check_model(graph, full_check=True)
    return graph


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

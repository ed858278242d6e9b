"""The network as a consumer gets it: one ONNX graph from uint8 pixels to calibrated probabilities."""

import logging
import warnings
from collections.abc import Mapping

import onnx
import torch
from torch import Tensor, nn

from medtune.models.classifier import Classifier
from medtune.serving.one_line import first_line

INPUT, OUTPUT = "images", "probabilities"


class Deployed(nn.Module):
    """uint8 (B, H, W, 3) -> (B, classes) probabilities: normalisation and temperature are part of the network.

    Attributes:
        network: a merged classifier in eval mode.
        temperature: () what its logits are divided by.
    """

    temperature: Tensor

    def __init__(self, network: Classifier, temperature: float) -> None:
        super().__init__()
        self.network = network.float().eval()
        self.register_buffer("temperature", torch.tensor(float(temperature)))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) -> (B, classes), rows sum to 1."""
        logits = self.network(self.network.preprocess(images))
        return torch.softmax(logits / self.temperature, dim=-1)


def to_onnx(model: Deployed, image_size: int, opset: int, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """`model` as a checked fp32 ONNX graph for any number of images, weights inside.

    Args:
        model: on the CPU.
        image_size: H = W, pixels.
        opset: ONNX operator set.
        metadata: written into the file, where ONNX viewers show it.

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
                output_names=[OUTPUT],
                opset_version=opset,
                external_data=False,
                optimize=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise RuntimeError(f"the network cannot be written as ONNX: {first_line(error)}") from error
    graph = program.model_proto  # type: ignore[union-attr]
    strip(graph)
    onnx.helper.set_model_props(graph, dict(metadata))
    onnx.checker.check_model(graph, full_check=True)
    return graph


def strip(model: onnx.ModelProto) -> None:
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

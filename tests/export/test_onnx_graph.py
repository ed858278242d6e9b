"""Exported graphs and their fp16 form, for a ViT, a ConvNeXt and an EfficientNet with random weights."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from benchmarks.inference_model import InferenceModel
from medtune.config.load import validate
from medtune.export.fp16 import to_half
from medtune.export.onnx_graph import to_onnx
from medtune.models.classifier import build

pytestmark = pytest.mark.slow
SIZE = 64


def inference_model(backbone: str, head: str, arguments: dict) -> InferenceModel:
    params = validate(
        {
            "data": {"source": "synthetic", "image_size": SIZE},
            "model": {
                "backbone": backbone,
                "weights": "none",
                "backbone_args": arguments,
                "head": {"kind": head},
                "peft": {"method": "none"},
            },
        }
    )
    network = build(params, 3)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():  # a zero-initialized branch would have no effect
            parameter += 0.05 * torch.randn_like(parameter)
    return InferenceModel(network, 1.7)


def run(graph: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


@pytest.mark.parametrize(
    ("backbone", "head", "arguments", "opset"),
    [
        ("test_vit", "cdtm", {"img_size": SIZE}, 20),
        ("test_vit", "transformer", {"img_size": SIZE}, 23),
        ("test_convnext", "cdtm", {}, 18),
        ("test_efficientnet", "ln_linear", {}, 20),
    ],
)
def test_to_onnx__equals_the_network_at_every_batch_size(backbone, head, arguments, opset):
    model = inference_model(backbone, head, arguments)
    graph = to_onnx(model, SIZE, opset, {"key": "k"})
    half, emulated = to_half(graph), to_half(graph, emulate=True)
    assert len(half.SerializeToString()) < 0.75 * len(graph.SerializeToString())
    assert [entry.value for entry in half.metadata_props] == ["k"]
    assert b"site-packages" not in graph.SerializeToString()
    for n in (1, 2, 7, 32):
        images = np.random.default_rng(n).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)
        with torch.inference_mode():
            expected = model(torch.from_numpy(images)).numpy()
        assert expected.min() > 0.001  # saturated probabilities would agree for any logits
        assert expected.max() < 0.999
        assert np.abs(run(graph, images) - expected).max() < 1e-5
        for variant in (half, emulated):
            assert np.abs(run(variant, images) - expected).max() < 1e-2


def test_to_onnx__is_deterministic():
    model = inference_model("test_efficientnet", "linear", {})
    first, second = (to_onnx(model, SIZE, 20, {}).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second

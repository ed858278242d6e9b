"""Errors of the exporter as one line of plain text, and export without fused attention."""

import numpy as np
import pytest
import timm
import torch

from medtune.export.fused_attention import plain_attention, uses_fused_attention
from medtune.export.onnx_file import predictor_of
from medtune.export.onnx_graph import ExportError, to_onnx

SIDE = 8


class ColorNetwork(torch.nn.Module):
    """Network from uint8 (B, 8, 8, 3) to two numbers: `function` of the mean color (B, 3)."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.last = torch.nn.Linear(3, 2)

    def forward(self, images):
        return self.last(self.function(images.float().mean((1, 2))))


@pytest.mark.parametrize(
    ("function", "operator"),
    [
        (lambda x: torch.linalg.svdvals(x[:, None]).expand(-1, 3), "linalg_svd"),
        (torch.special.airy_ai, "airy_ai"),
        (lambda x: x if x.sum() > 0 else -x, ""),
    ],
)
def test_export__error_names_the_operator_in_one_line(function, operator, capfd):
    with pytest.raises(ExportError, match="cannot be exported to ONNX") as error:
        to_onnx(ColorNetwork(function).eval(), SIDE, 20, {})
    text = str(error.value)
    assert operator in text
    assert "\x1b" not in text
    assert len(text.splitlines()) == 1
    assert "Next steps" not in text
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


class PixelNetwork(torch.nn.Module):
    """timm network with uint8 input."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images.permute(0, 3, 1, 2).float() / 255)


def test_export__attention_with_five_dimensions_equals_the_network():
    torch.manual_seed(0)
    args = {"img_size": 32, "embed_dim": 24, "num_heads": 1, "stages": (1, 1, 1, 1), "num_classes": 3}
    model = PixelNetwork(timm.create_model("hiera_tiny_224", **args)).eval()
    assert uses_fused_attention(model)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    graph = to_onnx(model, 32, 20, {})
    assert uses_fused_attention(model)
    with torch.inference_mode():
        expected = model(torch.from_numpy(images))
        with plain_attention(model):
            plain = model(torch.from_numpy(images))
    assert np.abs(predictor_of(graph)(images) - expected.numpy()).max() < 1e-4
    torch.testing.assert_close(plain, expected, atol=1e-5, rtol=1e-5)

"""ONNX graphs of all network architectures for volumes, with random weights."""

import numpy as np
import pytest
import torch

from medtune.export import graph_input
from medtune.export.ensemble import Member
from medtune.export.fp16 import to_half
from medtune.export.onnx_graph import to_onnx
from medtune.export.precisions import predictor
from medtune.export.volume_ensemble import VolumeEnsemble
from medtune.models.slice_network import SliceNetwork, slice_side
from medtune.models.volume_networks import ARCHITECTURES, create_volume_network
from medtune.tasks.segmentation import export as task

# The largest factor of an architecture is 32, and its deepest level needs 8 voxels.
PATCHES = {name: (64, 64, 64) if name == "swinunetr" else (16, 16, 16) for name in ARCHITECTURES}


def compare(network, patch, channels=1):
    """Compare a network with its graph for several batch sizes."""
    torch.manual_seed(0)
    network = network.eval()
    model = VolumeEnsemble([Member(network, task.output_layer({}))], "probabilities")
    graph = to_onnx(model, graph_input.windows(channels, patch), 20, {}, model.names)
    predict, half = predictor(graph.SerializeToString()), predictor(to_half(graph, emulate=True).SerializeToString())
    for count in (1, 3) if max(patch) < 64 else (1,):
        windows = np.random.default_rng(count).normal(size=(count, channels, *patch)).astype(np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(windows)).softmax(1).numpy()
        output = predict(windows)
        assert output.shape == (count, 2, 3, *patch)
        assert expected.max() - expected.min() > 0.01
        assert np.abs(output[:, 0] - expected).max() < 1e-4
        assert np.abs(half(windows)[:, 0] - expected).max() < 0.1


@pytest.mark.parametrize("axis", [0, 2])
def test_to_onnx__decoder_without_a_backbone(axis):
    compare(SliceNetwork(None, 2, 3, (16, 12, 13), slice_axis=axis), (16, 12, 13), channels=2)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet", "test_resnet"])
def test_to_onnx__slice_networks(name):
    import timm

    patch, channels = (16, 16, 5), 2 if name == "test_efficientnet" else 1
    size = {"img_size": slice_side(patch, 2.0, 16)} if name == "test_vit" else {}
    backbone = timm.create_model(name, num_classes=0, **size)
    compare(SliceNetwork(backbone, channels, 3, patch), patch, channels)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.nightly, pytest.mark.slow]) if name == "swinunetr" else name
        for name in ARCHITECTURES
    ],
)
def test_to_onnx__networks_of_volumes(name):
    pytest.importorskip("monai")
    compare(create_volume_network(name, 1, 3), PATCHES[name])

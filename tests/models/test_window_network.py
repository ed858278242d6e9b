"""Features of windows, and networks that compute them with the logits."""

import numpy as np
import pytest
import torch

from medtune.models.slice_network import SliceNetwork
from medtune.models.volume_networks import create_volume_network
from medtune.models.window_network import window_features


def test_window_features__are_the_mean_and_standard_deviation_of_each_channel():
    maps = [torch.randn(2, 3, 4, 5, 6), torch.randn(2, 1, 2, 2, 2) + 5]
    found = window_features(maps)
    assert found.shape == (2, 8)
    np.testing.assert_allclose(found[1, 1], maps[0][1, 1].mean(), atol=1e-6)
    np.testing.assert_allclose(found[1, 4], maps[0][1, 1].std(correction=0), atol=1e-6)
    np.testing.assert_allclose(found[0, 7], maps[1][0, 0].std(correction=0), atol=1e-6)


@pytest.mark.parametrize(("name", "width"), [("none", 32), ("unet", 128), ("segresnet", 128), ("brain_unet3d", 32)])
def test_forward_with_features__has_the_logits_of_forward(name, width):
    torch.manual_seed(0)
    if name == "none":
        network = SliceNetwork(None, 1, 3, (16, 20, 16), width=8, slice_axis=0).eval()
        windows = torch.randn(2, 1, 16, 20, 16)
    else:
        network, windows = create_volume_network(name, 1, 3), torch.randn(2, 1, 16, 16, 16)
    with torch.inference_mode():
        logits, features = network.forward_with_features(windows)
        assert torch.equal(logits, network(windows))
        np.testing.assert_allclose(features[:, -6:], window_features([logits]), atol=1e-6)
    assert features.shape == (2, 2 * (width + 3))
    assert not torch.allclose(features[0], features[1])

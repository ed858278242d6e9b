"""Windows in torch: equality with the windows of a bundle, and patches without windows."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from medtune.config.training import TrainingParams
from medtune.serving.volumes import sliding_window
from medtune.tasks.segmentation.windowed import (
    WindowedNetwork,
    count_windows,
    predict_slabs,
    window_corner,
    window_corners,
)
from medtune.training.optimizer import build_optimizer

SHAPES = st.tuples(*[st.integers(1, 11)] * 3)
PATCHES = st.tuples(*[st.integers(1, 6)] * 3)
OVERLAPS = st.sampled_from([0.0, 0.25, 0.5, 0.7])


class PositionDependent(nn.Module):
    """Network whose logits depend on the position in the window, so that wrong weights are visible."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.calls = []

    def forward(self, windows):
        self.calls.append(tuple(windows.shape))
        ramp = torch.linspace(-1, 1, windows[0, 0].numel()).view(windows.shape[2:])
        return torch.cat([self.scale * windows[:, :1], windows[:, :1] + ramp, 3 * ramp - windows[:, -1:]], dim=1)


def expected(volume, network, patch, overlap, batch):
    """Return the probabilities that a bundle computes."""

    def run(windows):
        with torch.no_grad():
            return network(torch.from_numpy(windows)).softmax(1).numpy()

    slabs = sliding_window.predict_slabs(volume.numpy(), run, patch, overlap, 3, batch)
    return np.concatenate([part for _, part in slabs], axis=1)


def joined(slabs):
    """Return the complete array (K, X, Y, Z), and check that each slab follows the previous one."""
    found = list(slabs)
    assert [first for first, _ in found] == np.cumsum([0, *(part.shape[1] for _, part in found)])[:-1].tolist()
    return torch.cat([part for _, part in found], dim=1)


@settings(max_examples=60)
@given(SHAPES, PATCHES, OVERLAPS, st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_predict__equals_the_windows_of_a_bundle(shape, patch, overlap, batch, seed):
    volume = torch.randn((2, *shape), generator=torch.Generator().manual_seed(seed))
    network = PositionDependent()
    with torch.no_grad():
        found = joined(predict_slabs(volume, lambda windows, _: network(windows), patch, overlap, batch))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected(volume, network, patch, overlap, batch), atol=1e-5)


@settings(max_examples=60)
@given(SHAPES, PATCHES, OVERLAPS)
def test_corners__are_the_numbers_of_the_windows(shape, patch, overlap):
    volume, seen, corners = torch.zeros(1, *shape), [], window_corners(shape, patch, overlap)

    def run(windows, numbers):
        seen.extend(range(numbers.start, numbers.stop))
        return torch.zeros(len(windows), 3, *patch)

    joined(predict_slabs(volume, run, patch, overlap, 3))
    assert seen == list(range(len(corners)))
    covered = np.zeros([max(length, side) for length, side in zip(shape, patch, strict=True)], bool)
    for x, y, z in corners:
        covered[x : x + patch[0], y : y + patch[1], z : z + patch[2]] = True
    assert covered.all()


@given(SHAPES, PATCHES, OVERLAPS)
def test_window_corner__equals_the_list_of_all_windows(shape, patch, overlap):
    corners = window_corners(shape, patch, overlap)
    assert count_windows(shape, patch, overlap) == len(corners)
    assert [window_corner(shape, patch, overlap, number) for number in range(len(corners))] == corners


def test_network__maps_patches_directly_and_volumes_by_windows():
    network = PositionDependent()
    windowed = WindowedNetwork(network, (4, 4, 4), 0.5)
    patches = torch.randn(3, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(windowed(patches), network(patches))
        network.calls.clear()
        volume = torch.randn(1, 1, 3, 9, 6, generator=torch.Generator().manual_seed(1))
        logits = joined(windowed(volume).float())
    assert {call[2:] for call in network.calls} == {(4, 4, 4)}
    assert logits.shape == (3, 3, 9, 6)
    np.testing.assert_allclose(logits.softmax(0).numpy(), expected(volume[0], network, (4, 4, 4), 0.5, 4), atol=1e-5)


def test_network__certain_predictions_are_finite():
    with torch.no_grad():
        logits = WindowedNetwork(PositionDependent(), (4, 4, 4), 0.5)(torch.full((1, 1, 5, 5, 5), 500.0))
        assert joined(logits).isfinite().all()


def test_network__volume_is_read_in_slabs_with_the_autocast_of_the_call():
    network, used = nn.Conv3d(1, 3, 1), []
    network.register_forward_hook(lambda module, inputs, output: used.append(output.dtype))
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            logits = WindowedNetwork(network, (4, 4, 4), 0.5)(torch.ones(1, 1, 12, 4, 4))
        planes = [(part.shape[1], part.dtype, torch.is_autocast_enabled("cpu")) for _, part in logits]
    assert used
    assert set(used) == {torch.bfloat16}
    assert planes == [(2, torch.float32, False)] * 4 + [(4, torch.float32, False)]


@pytest.mark.parametrize("shape", [(9, 9, 9), (3, 4, 9), (2, 2, 2)])
def test_network__with_gradients_maps_a_single_patch(shape):
    network = PositionDependent()
    output = WindowedNetwork(network, (4, 4, 4), 0.5)(torch.ones(1, 1, *shape))
    assert network.calls == [(1, 1, 4, 4, 4)]
    assert torch.autograd.grad(output.sum(), network.scale)[0] != 0


def test_network__head_has_its_own_learning_rate():
    model = nn.Module()
    model.backbone, model.head = nn.Conv3d(1, 2, 1), nn.Conv3d(2, 3, 1)
    optimizer = build_optimizer(WindowedNetwork(model, (4, 4, 4), 0.5), TrainingParams(), 1e-2, head_lr=1e-4)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    assert {rates[id(parameter)] for parameter in model.head.parameters()} == {1e-4}
    assert {rates[id(parameter)] for parameter in model.backbone.parameters()} == {1e-2}

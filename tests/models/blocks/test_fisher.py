"""Fisher information, compared with a sum over images, and the selection of entries."""

import pytest
import torch
from torch import nn

from medtune.models.blocks.fisher import diagonal_fisher
from medtune.models.blocks.parametrizations import bake_in, parametrize_tensor
from medtune.models.blocks.sparse_delta import SparseDelta, SparseEntry


@pytest.fixture
def example():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(1), nn.Linear(12, 5), nn.Dropout(0.5), nn.Tanh(), nn.Linear(5, 3))
    network.requires_grad_(False)
    return network, torch.randn(6, 3, 2, 2), torch.tensor([0, 1, 2, 0, 1, 1])


def test_diagonal_fisher__is_the_mean_of_squared_gradients(example):
    network, images, labels = example
    tensors = [network[1].weight, network[4].bias]
    fisher = diagonal_fisher(network, tensors, ((images[i : i + 1], labels[i : i + 1]) for i in range(6)))
    assert not any(tensor.requires_grad for tensor in tensors)
    expected = torch.zeros(len(fisher))
    network.eval().requires_grad_(True)
    for image, label in zip(images, labels, strict=True):
        loss = -network(image[None]).log_softmax(1)[0, label]
        expected += torch.cat([g.flatten() for g in torch.autograd.grad(loss, tensors)]).square() / 6
    torch.testing.assert_close(fisher, expected)


def test_sparse_delta__updates_the_entries_with_the_largest_scores(example):
    network, images, _ = example
    weight, bias = network[1].weight.clone(), network[4].bias.clone()
    delta = SparseDelta([60, 3], 4)
    parametrize_tensor(network[1], "weight", SparseEntry(delta, 0))
    parametrize_tensor(network[4], "bias", SparseEntry(delta, 1))
    scores = torch.zeros(63)
    scores[[7, 30, 60, 62]] = torch.tensor([1.0, 2, 3, 4])
    delta.select_entries(scores)
    network.eval()(images).square().sum().backward()
    assert delta.values.grad.count_nonzero() == 4
    with torch.no_grad():
        delta.values.copy_(torch.arange(1.0, 5))
    bake_in(network)
    assert (network[1].weight - weight).flatten().nonzero().flatten().tolist() == [7, 30]
    torch.testing.assert_close(network[4].bias - bias, torch.tensor([3.0, 0, 4]))


def test_sparse_delta__state_dict_restores_the_selection():
    first, second = SparseDelta([5, 5], 3), SparseDelta([5, 5], 3)
    first.select_entries(torch.tensor([0.0, 0, 0, 0, 1, 1, 1, 0, 0, 0]))
    second.load_state_dict(first.state_dict())
    assert second.spans == first.spans == [(0, 1), (1, 3)]


def test_diagonal_fisher__of_voxels_is_that_of_the_mean_loss():
    torch.manual_seed(0)
    network = nn.Conv3d(1, 3, 1).requires_grad_(False)
    volumes, masks = torch.randn(2, 1, 4, 3, 2), torch.randint(0, 3, (2, 4, 3, 2), dtype=torch.uint8)
    fisher = diagonal_fisher(network, [network.bias], ((volumes[i : i + 1], masks[i : i + 1]) for i in range(2)))
    with torch.no_grad():
        residuals = network(volumes).softmax(1) - nn.functional.one_hot(masks.long(), 3).movedim(4, 1)
        expected = residuals.mean((2, 3, 4)).square().mean(0)
    torch.testing.assert_close(fisher, expected)


def test_diagonal_fisher__of_findings_uses_the_joint_probability(example):
    network, images, _ = example
    labels = torch.tensor([[1, 0, 1]] * 3 + [[0, 0, 1]] * 3, dtype=torch.uint8)
    tensors = [network[4].bias]
    fisher = diagonal_fisher(network, tensors, ((images[i : i + 1], labels[i : i + 1]) for i in range(6)))
    with torch.no_grad():
        expected = (network.eval()(images).sigmoid() - labels).square().mean(0)
    torch.testing.assert_close(fisher, expected)

"""Computed memory of small networks, compared with manual sums."""

import pytest
import torch
from torch import nn

from benchmarks import memory
from medtune.config.errors import InputError


@pytest.fixture
def network():
    """Return two blocks of 5 x 4 + 5 parameters, the first frozen, and a head of 1 x 5."""
    with torch.device("meta"):
        modules = nn.ModuleDict(
            {"blocks": nn.Sequential(nn.Linear(4, 5), nn.Linear(4, 5)), "head": nn.Linear(5, 1, False)}
        )
    modules["blocks"][0].requires_grad_(False)
    return modules


def test_replicated__is_four_bytes_per_value(network):
    usage = memory.replicated(network, ema=True)
    assert (usage.weights, usage.gradients, usage.moments, usage.average) == (220, 120, 240, 220)
    assert usage.total == 800
    assert memory.replicated(network, ema=False).total == 580


def test_sharded__on_one_rank_is_replicated(network):
    assert memory.sharded(network, 1, ema=True) == memory.replicated(network, ema=True)


def test_sharded__splits_first_dimensions_and_gathers_a_block(network):
    usage = memory.sharded(network, 2, ema=False)
    # the largest rank has three of five rows, and tensors with one row completely
    assert usage.weights == 4 * (2 * (3 * 4 + 3) + 5)
    assert usage.gradients == 4 * (3 * 4 + 3 + 5)
    assert usage.gathered == 2 * 4 * 25


def test_build_network__has_the_complete_backbone_and_allocates_no_memory():
    network = memory.build_network("vit_large_patch16_224", 224, "none", 2)
    assert sum(p.numel() for p in network.parameters()) == 303_301_632 + 2 * 1025  # ViT-L/16 without its classifier
    assert all(p.is_meta for p in network.parameters())


def test_run__rejects_an_invalid_number_of_processes():
    with pytest.raises(InputError, match="--ranks '2,x'"):
        memory.run(ranks="2,x")

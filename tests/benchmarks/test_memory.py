"""The computed memory of small networks, compared with sums by hand."""

import pytest
import torch
from torch import nn

from benchmarks import memory
from medtune.config.errors import InputError


@pytest.fixture
def network():
    """Two blocks of 5 x 4 + 5 parameters, the first frozen, under a head of 1 x 5."""
    with torch.device("meta"):
        made = nn.ModuleDict(
            {"blocks": nn.Sequential(nn.Linear(4, 5), nn.Linear(4, 5)), "head": nn.Linear(5, 1, False)}
        )
    made["blocks"][0].requires_grad_(False)
    return made


def test_replicated__is_four_bytes_a_number(network):
    held = memory.replicated(network, ema=True)
    assert (held.weights, held.gradients, held.moments, held.average) == (220, 120, 240, 220)
    assert held.total == 800
    assert memory.replicated(network, ema=False).total == 580


def test_sharded__on_one_rank_is_replicated(network):
    assert memory.sharded(network, 1, ema=True) == memory.replicated(network, ema=True)


def test_sharded__cuts_first_dimensions_and_gathers_a_block(network):
    held = memory.sharded(network, 2, ema=False)
    # the fullest rank has three rows of five, and all of a tensor with one row
    assert held.weights == 4 * (2 * (3 * 4 + 3) + 5)
    assert held.gradients == 4 * (3 * 4 + 3 + 5)
    assert held.gathered == 2 * 4 * 25


def test_network_of__is_the_backbone_in_full_and_takes_no_memory():
    network = memory.network_of("vit_large_patch16_224", 224, "none", 2)
    assert sum(p.numel() for p in network.parameters()) == 303_301_632 + 2 * 1025  # ViT-L/16 without its classifier
    assert all(p.is_meta for p in network.parameters())


def test_run__refuses_what_is_no_number_of_processes():
    with pytest.raises(InputError, match="--ranks '2,x'"):
        memory.run(ranks="2,x")

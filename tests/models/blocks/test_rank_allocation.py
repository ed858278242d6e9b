"""Rank allocation of AdaLoRA: the budget decreases on schedule and the most important triplets are selected."""

import timm
import torch

from medtune.models.blocks.rank_allocation import SVDTriplets, allocate_ranks, cubic_budget
from medtune.models.peft import adalora


def triplets(backbone):
    return [module for module in backbone.modules() if isinstance(module, SVDTriplets)]


def test_cubic_budget__decreases_from_the_first_to_the_last_budget():
    assert [cubic_budget(48, 16, fraction) for fraction in (0, 0.5, 1)] == [48, 20, 16]


def test_allocate_ranks__selects_the_most_important_triplets():
    torch.manual_seed(0)
    layers = [SVDTriplets(8, 6, 3), SVDTriplets(8, 6, 3)]
    for layer, scale in zip(layers, (1.0, 10.0), strict=True):
        torch.nn.init.constant_(layer.values, scale)
        for tensor in layer.parameters():
            tensor.grad = torch.ones_like(tensor)
        layer.update_sensitivity()
    allocate_ranks(layers, 4)
    assert [int(layer.selected.sum()) for layer in layers] == [1, 3]


def test_after_step__reaches_the_budget():
    backbone = timm.create_model("test_vit", num_classes=0, img_size=64)
    params = adalora.Params(rank=2, start=4, interval=2)
    layers = triplets(adalora.inject(backbone, params))
    images, steps, ranks = torch.randn(2, 3, 64, 64), 10, []
    optimizer = torch.optim.Adam([p for p in backbone.parameters() if p.requires_grad], lr=1e-2)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        (backbone(images).square().mean() + adalora.penalty(backbone, params)).backward()
        optimizer.step()
        adalora.after_step(backbone, params, step, steps)
        ranks.append(sum(int(layer.values.count_nonzero()) for layer in layers))
    full, budget = 4 * len(layers), 2 * len(layers)
    assert ranks[0] == full
    assert ranks[5:] == [budget] * 5
    assert budget < ranks[1] < full

import math

import pytest
import torch

from medtune.models.attention_pooling import BagModel, Bags, GatedAttentionHead, pool

CHANNELS, CLASSES, HIDDEN = 5, 3, 4


def head(**options):
    torch.manual_seed(0)
    return GatedAttentionHead(CHANNELS, CLASSES, HIDDEN, **options).double().eval()


def expected_logits(network, tiles):
    """Compute equation 9 and a linear layer on the pooled feature with scalars."""

    def linear(layer, vector):
        bias = layer.bias.tolist() if layer.bias is not None else [0.0] * len(layer.weight)
        rows = layer.weight.tolist()
        return [sum(w * x for w, x in zip(row, vector, strict=True)) + b for row, b in zip(rows, bias, strict=True)]

    scores = []
    for tile in tiles:
        value, gate = linear(network.value, tile), linear(network.gate, tile)
        gated = [math.tanh(v) / (1 + math.exp(-g)) for v, g in zip(value, gate, strict=True)]
        scores.append(linear(network.score, gated)[0])
    total = sum(map(math.exp, scores))
    attention = [math.exp(score) / total for score in scores]
    pooled = [sum(a * tile[c] for a, tile in zip(attention, tiles, strict=True)) for c in range(CHANNELS)]
    return linear(network.classifier, pooled)


@pytest.mark.parametrize("norm", [False, True])
def test_bag_model__equals_equation_9(norm):
    network = head(norm=norm)
    tiles = torch.randn(7, 1, CHANNELS, dtype=torch.float64) * 3
    with torch.no_grad():
        logits = BagModel(network)(Bags(tiles, [7]))
        expected = expected_logits(network, network.embed(tiles.flatten(1)).tolist())
    torch.testing.assert_close(logits[0], torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_bag_model__does_not_depend_on_the_order_of_tiles():
    network, tiles = head(), torch.randn(9, 1, CHANNELS, dtype=torch.float64)
    with torch.no_grad():
        ordered, shuffled = (BagModel(network)(Bags(tiles[order], [9])) for order in (range(9), torch.randperm(9)))
    torch.testing.assert_close(ordered, shuffled)


def test_bag_model__does_not_depend_on_the_other_slides_of_a_batch():
    network, tiles = head(), torch.randn(10, 1, CHANNELS, dtype=torch.float64)
    with torch.no_grad():
        batch = BagModel(network)(Bags(tiles, [1, 6, 3]))
        separate = [BagModel(network)(Bags(slide, [len(slide)])) for slide in tiles.split([1, 6, 3])]
    torch.testing.assert_close(batch, torch.cat(separate))


def test_pool__one_tile_and_large_scores():
    outputs = torch.tensor([[1.0, -2.0, 900.0], [5.0, 7.0, -900.0]])
    torch.testing.assert_close(pool(outputs), torch.tensor([1.0, -2.0]))
    torch.testing.assert_close(pool(outputs[1:]), torch.tensor([5.0, 7.0]))

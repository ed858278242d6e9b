"""Comparison of Convpass with its formula, pixel by pixel."""

import torch

from medtune.models.blocks.token_grid import TokenGridConv, quick_gelu


def test_convpass__equals_the_formula_of_the_authors():
    torch.manual_seed(0)
    side, prefix, hidden = 3, 2, 4
    module = TokenGridConv(6, hidden, prefix).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    x = torch.randn(2, prefix + side**2, 6, dtype=torch.float64)
    down = x @ module.down.weight.T + module.down.bias
    down = down / (1 + (-1.702 * down).exp())  # QuickGELU
    convolved = torch.zeros_like(down)
    kernel = module.convolve.weight
    for token in range(prefix):  # a 1x1 grid uses only the center of the kernel
        convolved[:, token] = down[:, token] @ kernel[:, :, 1, 1].T + module.convolve.bias
    for row in range(side):
        for column in range(side):
            total = module.convolve.bias.expand(2, hidden)
            for i in range(max(row - 1, 0), min(row + 2, side)):
                for j in range(max(column - 1, 0), min(column + 2, side)):
                    tap = kernel[:, :, i - row + 1, j - column + 1]
                    total = total + down[:, prefix + i * side + j] @ tap.T
            convolved[:, prefix + row * side + column] = total
    convolved = convolved / (1 + (-1.702 * convolved).exp())
    torch.testing.assert_close(module(x), convolved @ module.up.weight.T + module.up.bias)


def test_convpass__convolution_starts_as_the_identity():
    module = TokenGridConv(6, 4, 1)
    x = torch.randn(2, 10, 6)
    hidden = quick_gelu(quick_gelu(module.down(x)))
    with torch.no_grad():
        module.up.weight.normal_()
    torch.testing.assert_close(module(x), module.up(hidden))
    assert not module.down.bias.any()

"""Comparison of sums of Kronecker products with torch.kron and with the parameter counts of the papers."""

import timm
import torch
from torch.nn.functional import gelu

from medtune.models.blocks.kronecker import HypercomplexBottleneck, KroneckerDelta, kronecker_sum, shared_factors
from medtune.models.peft import compacter, kadaptation


def randomized(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module.double()


def test_kronecker_sum__equals_the_sum_of_torch_kron():
    left, right = torch.randn(3, 2, 5), torch.randn(3, 4, 7)
    expected = sum(torch.kron(a, b) for a, b in zip(left, right, strict=True))
    torch.testing.assert_close(kronecker_sum(left, right), expected)


def test_compacter__equals_the_formula_of_mahabadi():
    """Compare with y = GELU(x W1 + b1) W2 + b2, where W = sum_i A_i (x) (s_i t_i) and both layers share A."""
    torch.manual_seed(0)
    module = randomized(HypercomplexBottleneck(12, 8, shared_factors(4)))
    down, _, up = module
    assert down.shared is up.shared
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    weights = [
        sum(torch.kron(layer.shared[i], layer.left[i] @ layer.right[i]) for i in range(4)) for layer in (down, up)
    ]
    expected = gelu(x @ weights[0] + down.bias) @ weights[1] + up.bias
    torch.testing.assert_close(module(x), expected)


def test_kadaptation__equals_the_formula_of_he():
    """Compare with Delta W = sum_i A_i (x) (u_i v_i)."""
    torch.manual_seed(0)
    module = randomized(KroneckerDelta(24, 8, shared_factors(4), rank=2))
    expected = sum(torch.kron(module.shared[i], module.left[i] @ module.right[i]) for i in range(4))
    torch.testing.assert_close(module(), expected)


def test_methods__share_one_set_of_factors_among_all_layers():
    for method in (compacter, kadaptation):
        backbone = method.inject(timm.create_model("test_vit", num_classes=0, img_size=32), method.Params())
        factors = {id(module.shared) for module in backbone.modules() if hasattr(module, "shared")}
        assert len(factors) == 1

"""Comparison of CDTM with its definition."""

import pytest
import torch

from medtune.models.cdtm import CDTM, ClusterAttention


def expanded(module: ClusterAttention, x: torch.Tensor) -> torch.Tensor:
    """Compute the paper's formula as in the reference code, with `a` expanded to (B, K, N, N)."""
    query = x.mean(1)
    cosine = torch.nn.functional.cosine_similarity(query[:, :, None], module.centers[None], dim=1)
    a = torch.softmax(cosine, dim=-1)
    matrix = (a[:, :, None, None] * module.mixing[None]).sum(1)
    return module.project(matrix @ x)


@pytest.mark.parametrize(("tokens", "channels", "centers"), [(16, 24, 5), (49, 64, 30), (196, 48, 300)])
def test_mixing__equals_the_expanded_formula(tokens, channels, centers):
    torch.manual_seed(0)
    module = ClusterAttention(tokens, channels, centers=centers).double()
    x = torch.randn(3, tokens, channels, dtype=torch.float64)
    torch.testing.assert_close(module(x), expanded(module, x), rtol=1e-9, atol=1e-12)


def test_weights__are_a_distribution_and_nearly_uniform_at_temperature_one():
    torch.manual_seed(0)
    module = ClusterAttention(9, 32, centers=300)
    weights = module.weights(torch.randn(4, 9, 32))
    torch.testing.assert_close(weights.sum(1), torch.ones(4))
    assert weights.max() < 0.024  # exp(2) / 300, so the paper's gate is nearly uniform


def test_head__with_skip_starts_as_the_identity():
    torch.manual_seed(0)
    head = CDTM(9, 32, 3, centers=7)
    x = torch.randn(2, 9, 32)
    before = head(x)
    with torch.no_grad():
        head.blocks[0].mix.mixing.mul_(100)
    torch.testing.assert_close(head(x), before)


@pytest.mark.parametrize("options", [{"temperature": "learned"}, {"skip": False, "layers": 2}])
def test_head__every_tensor_gets_a_gradient(options):
    torch.manual_seed(0)
    head = CDTM(9, 32, 3, centers=4, **options)
    for _ in range(2):  # the second step passes the zero-initialized projection
        head.zero_grad()
        head(torch.randn(5, 9, 32)).square().sum().backward()
        with torch.no_grad():
            for parameter in head.parameters():
                parameter -= 0.01 * parameter.grad
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def cluster_tokens(n=60, n_clusters=3, tokens=4, channels=16):
    """Create images in a few clusters with similar tokens."""
    torch.manual_seed(0)
    centers = torch.randn(n_clusters, channels)
    return centers, (centers.repeat_interleave(n // n_clusters, 0) + 0.01 * torch.randn(n, channels))[:, None].expand(
        -1, tokens, -1
    )


def test_prepare__centers_are_near_the_clusters_of_images():
    clusters, tokens = cluster_tokens()
    head, second = CDTM(4, 16, 2, centers=6), CDTM(4, 16, 2, centers=6)
    head.prepare(tokens.split(7), seed=1)
    centers = torch.nn.functional.normalize(head.blocks[0].mix.centers, dim=0)
    cosine = torch.nn.functional.normalize(torch.nn.functional.layer_norm(clusters, (16,)), dim=1) @ centers
    assert cosine.max(1).values.min() > 0.99
    second.prepare(tokens.split(60), seed=1)
    torch.testing.assert_close(second.blocks[0].mix.centers, head.blocks[0].mix.centers)


def test_prepare__standardizes_the_inputs_of_the_linear_head():
    _, tokens = cluster_tokens()
    head = CDTM(4, 16, 2, centers=6)
    head.prepare([tokens], seed=1)
    inputs = []
    head.classify.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    head(tokens)
    torch.testing.assert_close(inputs[0].mean(0), torch.zeros(16), atol=1e-4, rtol=0)
    torch.testing.assert_close(inputs[0].std(0), torch.ones(16), atol=1e-3, rtol=0)


def test_prepare__init_normal_changes_nothing():
    head = CDTM(4, 16, 2, centers=6, init="normal")
    before = {name: value.clone() for name, value in head.state_dict().items()}
    head.prepare([cluster_tokens()[1]], seed=1)
    assert all(torch.equal(before[name], value) for name, value in head.state_dict().items())


def test_prepare__supports_more_centers_than_images():
    head = CDTM(4, 16, 2, centers=50)
    head.prepare([torch.randn(9, 4, 16)], seed=1)
    assert torch.isfinite(head.blocks[0].mix.centers).all()


def test_mixing__gradients_equal_the_expanded_formulas():
    torch.manual_seed(0)
    module = ClusterAttention(16, 24, centers=5).double()
    x = torch.randn(3, 16, 24, dtype=torch.float64, requires_grad=True)
    inputs = [x, module.centers, module.mixing]
    gradients = torch.autograd.grad(module(x).square().sum(), inputs)
    expected = torch.autograd.grad(expanded(module, x).square().sum(), inputs)
    for a, b in zip(gradients, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_summary__reads_the_class_token():
    module = CDTM(4, 8, 2, centers=3, init="normal", summary=True, class_tokens=1).eval()
    x = torch.randn(5, 5, 8)
    changed = x.clone()
    changed[:, 0] = torch.randn(5, 8)
    assert not torch.allclose(module(x), module(changed))
    plain = CDTM(4, 8, 2, centers=3, init="normal").eval()
    plain.load_state_dict(
        {k: v for k, v in module.state_dict().items() if k in plain.state_dict() and "classify" not in k}, strict=False
    )
    assert torch.equal(module._pool(x[:, 1:]), plain._pool(x[:, 1:]))


def test_summary__is_standardized_on_the_training_images():
    module = CDTM(4, 8, 2, centers=3, summary=True, class_tokens=1)
    x = torch.randn(40, 5, 8) * 3 + 1
    module.prepare([x[:20], x[20:]], seed=0)
    summary = module._summarize(x) * module.summary_scale + module.summary_shift
    assert torch.allclose(summary.mean(0), torch.zeros(16), atol=1e-5)
    assert torch.allclose(summary.std(0), torch.ones(16), atol=1e-4)

"""Weight decay: it applies to matrices, not to vectors that scale or shift channels."""

import pytest
import torch

from medtune.config.load import validate
from medtune.models.adapt import adapt
from medtune.models.classifier import build
from medtune.training.optimizer import build_optimizer


def decayed(method, optimizer, decay_vectors, **model):
    """Return the names of trained parameters, and of those that a step with tiny gradients changes."""
    params = validate({
        "data": {"source": "synthetic", "image_size": 32},
        "model": {"backbone": "test_vit", "backbone_args": {"img_size": 32}, "weights": "none",
                  "head": {"kind": "linear"}, "peft": {"method": method}, **model},
        "finetune": {"optimizer": optimizer, "weight_decay": 0.5},
    })  # fmt: skip
    network = adapt(build(params, 2), params)
    before = {name: p.detach().clone() for name, p in network.named_parameters() if p.requires_grad}
    instance = build_optimizer(network, params.finetune, 0.1, decay_vectors)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 1e-12)  # decay of zero biases would not be visible
    instance.step()
    parameters = dict(network.named_parameters())
    return set(before), {name for name in before if (parameters[name] - before[name]).abs().max() > 1e-3}


@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
@pytest.mark.parametrize(("method", "factor"), [("ia3", "ia3_l"), ("ssf", "scale"), ("boft", "boft_s"),
                                                ("dora", "magnitude"), ("norm", "norm1.weight")])  # fmt: skip
def test_optimizer__does_not_decay_scales(method, factor, optimizer):
    """Scales, which have no effect at 1, must not decay to 0."""
    trained, changed = decayed(method, optimizer, decay_vectors=False)
    assert any(factor in name for name in trained)
    assert not any(factor in name for name in changed)
    assert any(name.startswith("head.") and name.endswith("weight") for name in changed)


def test_optimizer__decays_low_rank_matrices_of_rank_one():
    trained, changed = decayed("lora", "adamw", False, peft={"method": "lora", "rank": 1})
    assert {name for name in trained if "lora_A" in name} <= changed


def test_optimizer__decays_vectors_on_request():
    _, changed = decayed("none", "adam", decay_vectors=True)
    assert any("norm1.weight" in name for name in changed)
    _, with_adamw = decayed("none", "adamw", decay_vectors=True)
    assert not any("norm1.weight" in name for name in with_adamw)

"""Preparation of networks of volumes for stage 2: PEFT methods on the backbone, training of the head, and merging."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from medtune.models.adapt import adapt, after_step, merge, penalty, prepare
from medtune.models.classifier import freeze_batchnorm
from medtune.models.segmenter import build
from medtune.training.optimizer import build_optimizer
from tests.tasks.segmentation.prepared_volumes import segmentation_params

PATCH = (16, 16, 16)
SMALL_UNET = {"channels": [8, 16, 16], "strides": [2, 2], "num_res_units": 1}
CASES = [("test_vit", "vpt"), ("test_vit", "prefix"), ("test_vit", "adalora"), ("test_resnet", "fishmask"),
         ("unet", "lora"), ("unet", "fishmask"), ("brain_unet3d", "bitfit")]  # fmt: skip


def params_for(backbone, method, **changes):
    args = {"backbone_args": SMALL_UNET} if backbone == "unet" else {}
    patch = {"peft": {"method": method}, **args}
    return segmentation_params(backbone, model=patch, schedule="full", **changes)


def batch():
    volumes = torch.randn(2, 1, *PATCH, generator=torch.Generator().manual_seed(1))
    return volumes, (volumes[:, 0] > 0).long()


def train_step(model, params, head_lr=None):
    volumes, masks = batch()
    optimizer = build_optimizer(model, params.finetune, 1e-2, head_lr=head_lr)
    extra, done = penalty(model, params), after_step(model, params)
    loss = cross_entropy(model(volumes), masks)
    (loss + extra() if extra else loss).backward()
    optimizer.step()
    if done:
        done(1, 1)
    return optimizer


@pytest.mark.parametrize(("backbone", "method"), CASES)
def test_adapt__trains_method_and_head_and_merges(backbone, method):
    params = params_for(backbone, method)
    plain = build(params, 1, 2, PATCH)
    model = adapt(copy.deepcopy(plain), params)
    prepare(model, [batch()], params)
    frozen = {name: value.clone() for name, value in model.named_parameters() if not value.requires_grad}
    assert all(value.requires_grad for value in model.head.parameters())
    train_step(model.train(), params)
    freeze_batchnorm(model)
    assert frozen
    assert all(torch.equal(value, frozen[name]) for name, value in model.named_parameters() if name in frozen)
    model.eval()
    with torch.no_grad():
        expected = model(batch()[0])
        merged = merge(model, params)
        torch.testing.assert_close(model(batch()[0]), expected, atol=1e-5, rtol=1e-4)
    assert merged == (method not in ("vpt", "prefix"))


def test_adapt__decoder_alone_has_nothing_to_adapt():
    params = params_for("none", "none")
    model = adapt(build(params, 1, 2, PATCH), params)
    assert {name.partition(".")[0] for name, value in model.named_parameters() if value.requires_grad} == {"head"}
    train_step(model.train(), params)
    assert merge(model, params)


@pytest.mark.parametrize("backbone", ["test_vit", "unet"])
def test_optimizer__bounds_the_rate_of_the_head(backbone):
    params = params_for(backbone, "lora")
    model = adapt(build(params, 1, 2, PATCH), params)
    optimizer = train_step(model, params, head_lr=1e-3)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {rates[id(p)] for p in model.head.parameters()} == {1e-3}
    assert {rates[id(p)] for p in model.backbone.parameters() if p.requires_grad} == {1e-2}


@pytest.mark.parametrize(("backbone", "method"), [("test_vit", "lora"), ("test_resnet", "none")])
def test_gradient_checkpointing__keeps_the_gradients_through_the_levels(backbone, method):
    params = params_for(backbone, method)
    model = freeze_statistics(adapt(build(params, 1, 2, PATCH), params))
    gradients = []
    for enabled in (False, True):
        model.backbone.set_grad_checkpointing(enabled)
        model.zero_grad()
        cross_entropy(model(batch()[0]), batch()[1]).backward()
        gradients.append({name: value.grad.clone() for name, value in model.named_parameters() if value.requires_grad})
    assert all(torch.allclose(value, gradients[1][name], atol=1e-6) for name, value in gradients[0].items())


def freeze_statistics(model):
    """Return the network in training mode with frozen BatchNorm statistics, as stage 2 trains it."""
    model.train()
    freeze_batchnorm(model.backbone)
    return model

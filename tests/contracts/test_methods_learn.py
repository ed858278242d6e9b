"""PEFT methods: they learn at the lowest learning rate, and the first steps do not undo the pretraining."""

from itertools import islice

import pytest
import torch

from medtune.config import registry
from medtune.config.load import validate
from medtune.models.adapt import adapt, after_step, merge, penalty, prepare
from medtune.models.classifier import build, freeze_batchnorm
from medtune.training.optimizer import build_optimizer

METHODS = registry.plugin_names("medtune.models.peft")
SIZE, STEPS = 32, 30
# Limits of the maximum loss in steps 1 to 5 and of the minimum loss in STEPS steps, relative to the initial loss.
JUMP, LEARNED = 1.02, 0.95


def families(method):
    return registry.load_plugin("medtune.models.peft", method, "model.peft.method").SUPPORTED_FAMILIES


def params_for(method, backbone, **finetune):
    args = {"img_size": SIZE} if backbone == "test_vit" else {}
    return validate({
        "data": {"source": "synthetic", "image_size": SIZE},
        "model": {"backbone": backbone, "backbone_args": args, "weights": "bundled", "head": {"kind": "linear"},
                  "peft": {"method": method}},
        "finetune": finetune,
    })  # fmt: skip


def two_classes():
    """Return normalized noise (16, 3, SIZE, SIZE), brighter on the right in class 1, and labels (16,)."""
    images = torch.rand(16, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).repeat(1, 3, 1, 1)
    labels = torch.arange(16) % 2
    images[labels == 1] += 0.05 * torch.linspace(-1, 1, SIZE)
    return (images - 0.5) / 0.25, labels


def zero_some_filters(backbone):
    """Set the first three filters of every convolution to zero, as after pruning or weight decay."""
    for module in backbone.modules():
        if isinstance(module, torch.nn.Conv2d) and module.groups == 1:
            module.weight.data[:3] = 0


def fit_head(model, images, labels):
    """Fit the head as in stage 1, so that an increase of the loss is visible."""
    with torch.no_grad():
        features = model.features(images)
    optimizer = torch.optim.Adam(model.head.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model.head(features), labels).backward()
        optimizer.step()
    model.head.requires_grad_(False)


def training_losses(model, images, labels, params):
    """Train an adapted model at the method's lowest rate with a fixed head and yield the loss before every step."""
    decays = params.model.peft.method == "none"
    optimizer = build_optimizer(model, params.finetune, params.learning_rates("finetune")[0], decays)
    extra, call_after_step = penalty(model, params), after_step(model, params)
    for step in range(STEPS + 1):
        model.train()
        freeze_batchnorm(model.backbone)
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        yield loss.item()
        optimizer.zero_grad()
        (loss + extra() if extra else loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if call_after_step:
            call_after_step(step + 1, STEPS)


def check_learns(losses):
    """Train until the loss has decreased, for at least five steps."""
    before = next(losses)
    assert max(islice(losses, 5)) <= JUMP * before
    assert any(loss <= LEARNED * before for loss in losses)


@pytest.mark.parametrize("method", [method for method in METHODS if "vit" in families(method)])
def test_method__learns_on_a_vit_without_an_increase_of_the_loss(method):
    params = params_for(method, "test_vit")
    images, labels = two_classes()
    model = build(params, 2)
    fit_head(model, images, labels)
    model = adapt(model, params)
    model.head.requires_grad_(False)
    prepare(model, [(images, labels)], params)
    check_learns(training_losses(model, images, labels, params))


@pytest.mark.parametrize("method", [method for method in METHODS if set(families(method)) & {"resnet", "mobilenet"}])
def test_method__learns_with_zero_filters(method):
    """CNN with zero filters, like nine filters in the common weights of MobileNetV2."""
    params = params_for(method, "test_efficientnet" if "mobilenet" in families(method) else "test_resnet")
    images, labels = two_classes()
    model = build(params, 2)
    zero_some_filters(model.backbone)
    fit_head(model, images, labels)
    expected = model.eval()(images).detach()
    model = adapt(model, params)
    model.head.requires_grad_(False)
    prepare(model, [(images, labels)], params)
    torch.testing.assert_close(model.eval()(images), expected, atol=1e-4, rtol=1e-4)
    check_learns(training_losses(model, images, labels, params))
    trained = model.eval()(images)
    merge(model, params)
    torch.testing.assert_close(model(images), trained, atol=1e-4, rtol=1e-4)

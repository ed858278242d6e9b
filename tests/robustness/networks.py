"""Striped images of three classes, and small networks that a PEFT method has changed."""

import copy

import numpy as np
import torch

from medtune.config import registry
from medtune.config.load import validate
from medtune.models.adapt import adapt, after_step, load_method, penalty, prepare
from medtune.models.blocks.selection import NORMS
from medtune.models.classifier import build

METHODS = "medtune.models.peft"
# Backbone and weights by family. The weights of two backbones are bundled.
BACKBONES = {
    "vit": ("test_vit", "bundled"),
    "convnext": ("test_convnext", "none"),
    "resnet": ("test_resnet", "none"),
    "mobilenet": ("test_efficientnet", "bundled"),
}
# Number of stripes by class.
STRIPES = {"wide": 1.5, "medium": 4.0, "narrow": 9.0}
CLASSES = tuple(STRIPES)
SIZE = 64
PRETRAINING_STEPS, ADAPTATION_STEPS, FEW = 150, 3, 24


def supported_methods(family):
    """Return the PEFT methods that support a family of backbones, including `none`, which trains everything."""
    families = {
        name: registry.load_plugin(METHODS, name, "method").SUPPORTED_FAMILIES
        for name in registry.plugin_names(METHODS)
    }
    return [name for name, supported in families.items() if not supported or family in supported]


def model_tree(method, family):
    """Return the section `model` of a method on a backbone."""
    backbone, weights = BACKBONES[family]
    return {
        "backbone": backbone,
        "weights": weights,
        "backbone_args": {"img_size": SIZE} if family == "vit" else {},
        "head": {"kind": "linear"},
        "peft": {"method": method},
    }


def params_for(method, family):
    return validate({"data": {"source": "synthetic", "image_size": SIZE}, "model": model_tree(method, family)})


def striped_images(n, size, seed):
    """Return uint8 images (n, size, size, 3) and labels (n,).

    The classes differ in the width of the stripes and slightly in brightness. Some images are between two classes.
    """
    random = np.random.default_rng(seed)
    labels = np.arange(n) % len(CLASSES)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    angle = random.uniform(0, np.pi, (n, 1, 1))
    position = np.cos(angle) * axis[None, :, None] + np.sin(angle) * axis[None, None, :]
    frequency = np.array(list(STRIPES.values()))[labels] * random.lognormal(0, 0.16, n)
    stripes = np.sin(np.pi * frequency[:, None, None] * position + random.uniform(0, 2 * np.pi, (n, 1, 1)))
    brightness = 110 + 15 * labels + random.normal(0, 12, n)
    color = random.uniform(0.8, 1.2, (n, 1, 1, 3))
    noise = random.normal(0, 9, (n, size, size, 3)).astype(np.float32)
    images = color * (brightness[:, None, None] + 45 * stripes)[..., None] + noise
    return np.clip(images, 0, 255).astype(np.uint8), labels


def pretrained(params, images, labels):
    """Return the plain network in eval mode. Without bundled weights, it is first trained on the images."""
    model = build(params, len(CLASSES))
    if params.model.weights != "none":
        return model
    for module in model.backbone.modules():  # residual branches that timm initializes to zero pass no gradient
        if isinstance(module, NORMS) and not module.weight.any():
            torch.nn.init.ones_(module.weight)
    pixels, targets = model.preprocess(torch.from_numpy(images)), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(PRETRAINING_STEPS):
        batch = torch.randperm(len(pixels), generator=generator)[:32]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(pixels[batch]), targets[batch]).backward()
        optimizer.step()
    return model.eval()


def adapted(plain, params, images, labels):
    """Adapt a copy of the plain network on the images and fit its head to the new features.

    Returns:
        The network in eval mode, not merged, and the largest change of a feature.
    """
    torch.manual_seed(0)
    model = adapt(copy.deepcopy(plain), params)
    pixels, targets = model.preprocess(torch.from_numpy(images)), torch.from_numpy(labels)
    few, few_targets = pixels[:FEW], targets[:FEW]
    prepare(model, [(few, few_targets)], params)
    extra_loss, finish_step = penalty(model, params), after_step(model, params)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=max(load_method(params).LR_GRID))
    for step in range(1, ADAPTATION_STEPS + 1):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(few), few_targets)
        (loss + extra_loss() if extra_loss else loss).backward()
        optimizer.step()
        if finish_step:
            finish_step(step, ADAPTATION_STEPS)
    model.eval()
    with torch.no_grad():
        change = float((model.features(few) - plain.features(few)).abs().max())
        _fit_head(model, pixels, targets)
    return model, change


def _fit_head(model, pixels, targets):
    """Set the linear head by ridge regression."""
    features = torch.cat([model.features(batch) for batch in pixels.split(64)]).flatten(1)
    inputs = torch.cat([features, torch.ones(len(features), 1)], 1).double()
    outputs = 6.0 * torch.eye(len(CLASSES))[targets].double()
    ridge = 1e-3 * len(inputs) * torch.eye(inputs.shape[1])
    weights = torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ outputs).float()
    linear = model.head[-1]
    linear.weight.copy_(weights[:-1].T)
    linear.bias.copy_(weights[-1])

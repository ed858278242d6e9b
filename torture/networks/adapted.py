"""Small networks that a PEFT method has really changed, with heads that tell drawn pictures apart."""

import copy
from typing import Any

from medtune.config import registry

# The backbones of tests/contracts/test_peft.py; of two the weights are shipped.
BACKBONES = {
    "vit": ("test_vit", "bundled"),
    "convnext": ("test_convnext", "none"),
    "resnet": ("test_resnet", "none"),
    "mobilenet": ("test_efficientnet", "bundled"),
}
CLASSES = ("calm", "striped", "busy")
STEPS = 3
LEARNING = 150
TEMPERATURE = 1.3


def methods(family: str) -> list[str]:
    """Names of the registry's methods that fit a family, `none` (everything is trained) among them."""
    fits = {
        name: registry.load_plugin("medtune.models.peft", name, "method").SUPPORTED_FAMILIES
        for name in registry.plugin_names("medtune.models.peft")
    }
    return [name for name, families in fits.items() if not families or family in families]


def pictures(n: int, size: int, seed: int) -> tuple[Any, Any]:
    """`n` uint8 (size, size, 3) pictures of three classes in turn, and their labels: ripples of a class's own width.

    Classes are told apart by structure and, a little, by brightness; some pictures lie between two.
    """
    import numpy as np

    draw = np.random.default_rng(seed)
    labels = np.arange(n) % len(CLASSES)
    across = np.linspace(-1, 1, size, dtype=np.float32)
    angle = draw.uniform(0, np.pi, (n, 1, 1))
    place = np.cos(angle) * across[None, :, None] + np.sin(angle) * across[None, None, :]
    waves = np.array([1.5, 4.0, 9.0])[labels] * draw.lognormal(0, 0.16, n)
    ripple = np.sin(np.pi * waves[:, None, None] * place + draw.uniform(0, 2 * np.pi, (n, 1, 1)))
    light = 110 + 15 * labels + draw.normal(0, 12, n)
    colour = draw.uniform(0.8, 1.2, (n, 1, 1, 3)) * (light[:, None, None] + 45 * ripple)[..., None]
    noise = draw.normal(0, 9, (n, size, size, 3)).astype(np.float32)
    return np.clip(colour + noise, 0, 255).astype(np.uint8), labels


def params_of(method: str, family: str, size: int) -> Any:
    """Params of one method on one backbone."""
    from medtune.config.load import validate

    backbone, weights = BACKBONES[family]
    model = {"backbone": backbone, "weights": weights, "head": {"kind": "linear"}, "peft": {"method": method}}
    if family == "vit":
        model["backbone_args"] = {"img_size": size}
    return validate({"data": {"source": "synthetic", "image_size": size}, "model": model})


def pretrained(params: Any, images: Any, labels: Any) -> Any:
    """The plain network of `params`, in eval mode; without shipped weights it first learns the pictures itself."""
    import torch

    from medtune.models.blocks.selection import NORMS
    from medtune.models.classifier import build

    model = build(params, len(CLASSES))
    if params.model.weights != "none":
        return model
    for module in model.backbone.modules():  # a residual branch that timm starts at zero passes no gradient
        if isinstance(module, NORMS) and not module.weight.any():
            torch.nn.init.ones_(module.weight)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    pixels, truth = model.preprocess(torch.from_numpy(images)), torch.from_numpy(labels)
    order = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(LEARNING):
        rows = torch.randperm(len(pixels), generator=order)[:32]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(pixels[rows]), truth[rows]).backward()
        optimizer.step()
    return model.eval()


def adapted(plain: Any, params: Any, images: Any, labels: Any) -> tuple[Any, float]:
    """A copy of `plain` after some steps of the method on `images`, not merged, its head fitted on what it then sees.

    Returns:
        the network in eval mode, and how far the method moved its features: 0 would be a method that did nothing.
    """
    import torch

    from medtune.models.adapt import adapt, after_step, penalty, prepare

    torch.manual_seed(0)
    model = adapt(copy.deepcopy(plain), params)
    pixels, truth = model.preprocess(torch.from_numpy(images)), torch.from_numpy(labels)
    few, known = pixels[:24], truth[:24]
    prepare(model, [(few, known)], params)
    extra, done = penalty(model, params), after_step(model, params)
    rates = registry.load_plugin("medtune.models.peft", params.model.peft.method, "method").LR_GRID
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=max(rates))
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(few), known)
        (loss + extra() if extra else loss).backward()
        optimizer.step()
        if done:
            done(step, STEPS)
    model.eval()
    with torch.no_grad():
        moved = float((model.features(few) - plain.features(few)).abs().max())
        _fit(model, pixels, truth)
    return model, moved


def _fit(model: Any, pixels: Any, truth: Any) -> None:
    """Sets the linear head by least squares."""
    import torch

    features = torch.cat([model.features(part) for part in pixels.split(64)]).flatten(1)
    wide = torch.cat([features, torch.ones(len(features), 1)], 1).double()
    target = 6.0 * torch.eye(len(CLASSES))[truth].double()
    ridge = 1e-3 * len(wide) * torch.eye(wide.shape[1])
    found = torch.linalg.solve(wide.T @ wide + ridge, wide.T @ target).float()
    linear = model.head[-1]
    linear.weight.copy_(found[:-1].T)
    linear.bias.copy_(found[-1])

"""CDTM and PEFT methods on timm models: training, merging and errors."""

import pytest
import timm
import torch
from torch import nn

import medtune
from medtune.config import registry

BACKBONES = {"vit": "test_vit", "convnext": "test_convnext", "resnet": "test_resnet", "mobilenet": "test_efficientnet"}
SIZE = 64


def timm_model(family: str, num_classes: int = 2) -> nn.Module:
    torch.manual_seed(0)
    size = {"img_size": SIZE} if family == "vit" else {}
    return timm.create_model(BACKBONES[family], num_classes=num_classes, **size)


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def train(model: nn.Module, steps: int = 15) -> tuple[float, float]:
    """Return the loss before the first step and after the last step."""
    torch.manual_seed(0)
    labels = torch.tensor([0, 1, 0, 1])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(steps + 1):
        loss = nn.functional.cross_entropy(model.eval()(images()), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses[0], losses[-1]


@pytest.mark.parametrize("family", BACKBONES)
def test_attach_cdtm__trains_on_every_family(family):
    model = medtune.attach_cdtm(timm_model(family), num_classes=2, centers=8, image_size=SIZE)
    first, last = train(model)
    assert last < 0.95 * first
    assert model(images()).shape == (4, 2)


def test_attach_cdtm__frozen_backbone_does_not_change():
    backbone = timm_model("vit")
    before = {name: value.clone() for name, value in backbone.state_dict().items() if "head" not in name}
    model = medtune.attach_cdtm(backbone, num_classes=2, centers=8, freeze=True)
    train(model, steps=3)
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.head.parameters())


def test_attach_cdtm__initializes_from_images():
    heads = []
    for batches in (None, [images()[:2], images()[2:]]):
        torch.manual_seed(0)
        heads.append(medtune.attach_cdtm(timm_model("vit"), num_classes=2, centers=8, images=batches).head)
    (first, second) = (head.blocks[0].mix.centers for head in heads)
    assert not torch.equal(first, second)
    torch.testing.assert_close(
        second.norm(dim=0), torch.ones(8), atol=0.7, rtol=0
    )  # directions, with noise if repeated


@pytest.mark.parametrize("family", BACKBONES)
def test_inject_peft__lora_trains_and_merges_into_the_plain_model(family):
    model = timm_model(family)
    plain, total = set(model.state_dict()), sum(p.numel() for p in model.parameters())
    model = medtune.inject_peft(model, "lora", rank=2)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) < total / 2
    assert all(parameter.requires_grad for parameter in model.get_classifier().parameters())
    first, last = train(model)
    assert last < first
    expected = model.eval()(images())
    model = medtune.merge_peft(model)
    assert set(model.state_dict()) == plain
    torch.testing.assert_close(model.eval()(images()), expected, atol=1e-4, rtol=1e-4)


def test_inject_peft__trains_and_merges_a_model_with_cdtm():
    model = medtune.attach_cdtm(timm_model("vit"), num_classes=2, centers=8)
    keys = set(model.state_dict())
    model = medtune.inject_peft(model, "ssf")
    first, last = train(model)
    assert last < first
    expected = model.eval()(images())
    torch.testing.assert_close(medtune.merge_peft(model).eval()(images()), expected, atol=1e-4, rtol=1e-4)
    assert set(model.state_dict()) == keys


NEED_MEDTUNE_TRAIN = {"adalora", "fishmask"}
METHODS = [name for name in registry.plugin_names("medtune.models.peft") if name != "none"]


@pytest.mark.parametrize("method", METHODS)
def test_inject_peft__methods_give_gradients_to_a_plain_model(method):
    plugin = registry.load_plugin("medtune.models.peft", method, "method")
    model = timm_model(plugin.SUPPORTED_FAMILIES[0])
    if method in NEED_MEDTUNE_TRAIN:
        with pytest.raises(medtune.InputError, match=rf"method={method}: .* Train it with `medtune train`"):
            medtune.inject_peft(model, method)
        return
    model = medtune.inject_peft(model, method)
    nn.functional.cross_entropy(model(images()), torch.tensor([0, 1, 0, 1])).backward()
    assert any(p.grad is not None and p.grad.any() for n, p in model.named_parameters() if "head" not in n)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: medtune.attach_cdtm(nn.Linear(2, 2), 2), "model=Linear: not a timm model. Pass one from timm"),
        (lambda: medtune.attach_cdtm(timm_model("vit"), 1), "num_classes=1: a classifier needs at least 2"),
        (lambda: medtune.attach_cdtm(timm_model("vit"), 2, image_size=50), "image_size=50: VisionTransformer does not"),
        (lambda: medtune.inject_peft(nn.Linear(2, 2)), "model=Linear: not a timm model"),
        (lambda: medtune.inject_peft(timm_model("vit"), "lorra"), "method=lorra: unknown"),
        (lambda: medtune.inject_peft(timm_model("vit"), "lora", rang=2), "did you mean 'rank'"),
        (lambda: medtune.inject_peft(timm_model("resnet"), "vpt"), "method=vpt: it does not support ResNet"),
        (lambda: medtune.merge_peft(timm_model("vit")), "it has no PEFT method. Call inject_peft first"),
        (lambda: medtune.merge_peft(medtune.inject_peft(timm_model("vit"), "vpt")), "method=vpt: .* cannot be merged"),
        (
            lambda: medtune.inject_peft(medtune.inject_peft(timm_model("vit")), "ssf"),
            "method=ssf: the model already has method lora. Call merge_peft first",
        ),
    ],
)  # fmt: skip
def test_errors__are_one_line(call, message):
    with pytest.raises(medtune.InputError, match=message) as error:
        call()
    assert "\n" not in str(error.value)

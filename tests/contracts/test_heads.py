"""Contract of the heads in models/heads; a new file is tested automatically."""

import subprocess
import sys

import pytest
import timm
import torch

from medtune.config import registry
from medtune.config.load import load
from medtune.config.project import PROJECT
from medtune.config.schema import HeadParams
from medtune.models.classifier import build
from medtune.serving.slides.aggregate import extra_outputs

ALL = registry.plugin_names("medtune.models.heads")
SHAPES = {"tokens": (9, 16), "mean": (1, 16), "pooled": (1, 16), "summary": (1, 32)}


def head(name: str):
    return registry.load_plugin("medtune.models.heads", name, "model.head.kind")


HEADS = [name for name in ALL if not head(name).Params().reads_volumes]
VOLUME_HEADS = [name for name in ALL if head(name).Params().reads_volumes]
PATCH = (16, 12, 6)


@pytest.mark.parametrize("name", ALL)
def test_head__defines_all_attributes(name):
    plugin = head(name)
    assert issubclass(plugin.Params, HeadParams)
    assert plugin.Params().kind == name
    assert name in VOLUME_HEADS or plugin.INPUT in SHAPES
    assert plugin.__doc__.startswith(f"Head `{name}`: ")


@pytest.mark.parametrize("backbone", [None, "test_vit", "test_resnet"])
@pytest.mark.parametrize("name", VOLUME_HEADS)
def test_head__labels_voxels_and_returns_gradients(name, backbone):
    plugin = head(name)
    torch.manual_seed(0)
    args = {"img_size": 32} if backbone == "test_vit" else {}
    model = None if backbone is None else timm.create_model(backbone, num_classes=0, **args)
    network = plugin.build(plugin.Params(), model, 2, 3, PATCH).eval()
    volumes = torch.randn(2, 2, *PATCH)
    logits = network(volumes)
    assert logits.shape == (2, 3, *PATCH)
    assert network.patch == PATCH
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.head.parameters())
    with torch.no_grad():  # the labels of a volume do not depend on the other volumes of the batch
        torch.testing.assert_close(network(volumes)[1:], network(volumes[1:]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("name", HEADS)
def test_head__returns_logits_and_gradients(name, classes):
    plugin = head(name)
    tokens, channels = SHAPES[plugin.INPUT]
    torch.manual_seed(0)
    network = plugin.build(plugin.Params(), 9, channels, classes).train()
    features = torch.randn(3, tokens, channels, requires_grad=True)
    logits = network(features)
    assert logits.shape == (3, classes + extra_outputs(plugin.Params().aggregation))
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters() if p.requires_grad)
    assert features.grad is not None


@pytest.mark.parametrize("name", HEADS)
def test_head__logits_do_not_depend_on_other_images(name):
    plugin = head(name)
    tokens, channels = SHAPES[plugin.INPUT]
    torch.manual_seed(0)
    network = plugin.build(plugin.Params(), 9, channels, 3).eval()
    features = torch.randn(4, tokens, channels)
    with torch.no_grad():
        torch.testing.assert_close(network(features)[1:2], network(features[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", ["test_vit", "test_convnext"])
@pytest.mark.parametrize("name", HEADS)
def test_head__supports_vit_and_cnn(name, backbone):
    sets = [f"model.backbone={backbone}", "model.weights=none", f"model.head.kind={name}", "data.image_size=160"]
    pools_tiles = extra_outputs(head(name).Params().aggregation)
    sets += ["data.source=slides", "schedule=frozen"] if pools_tiles else []
    model = build(load(sets=[*sets, "model.backbone_args={}"]), 3)
    images = torch.randint(0, 256, (2, 160, 160, 3), dtype=torch.uint8)
    assert model(model.preprocess(images)).shape == (2, 3 + pools_tiles)
    assert not model.training


def test_heads__import_no_torch():
    code = (
        "import sys\nfrom medtune.config import registry\n"
        "for name in registry.plugin_names('medtune.models.heads'):\n"
        "    registry.load_plugin('medtune.models.heads', name, 'x')\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True, timeout=120)

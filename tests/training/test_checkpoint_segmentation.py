"""Trained networks of volumes, loaded from the artifact of a training stage."""

import pytest
import torch

from medtune.config.errors import RunError
from medtune.models.adapt import adapt
from medtune.models.weights import state_sha256
from medtune.runtime.artifact import commit, partial_dir
from medtune.tasks.segmentation.training import build
from medtune.training import checkpoint
from tests.tasks.segmentation.prepared_volumes import segmentation_params

LAYOUT = {"classes": 3, "channels": 1, "patch": [16, 16, 16]}
CASES = [("none", "none", "head"), ("test_vit", "none", "head"), ("brain_unet3d", "none", "head"),
         ("test_vit", "vpt", "adapted"), ("unet", "lora", "all")]  # fmt: skip


def save(folder, params, holds, sha256=None):
    """Write an artifact as a training stage does; return it and its network with changed weights."""
    torch.manual_seed(4)
    model = build(params, LAYOUT)
    backbone_sha256 = sha256 or state_sha256(model.backbone)
    if holds == "adapted":
        model = adapt(model, params)
    with torch.no_grad():
        for parameter in (model.head if holds == "head" else model).parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    saved = model.head if holds == "head" else model
    partial_dir(folder).mkdir(parents=True)
    checkpoint.save(partial_dir(folder) / "model.safetensors", saved.state_dict(), {"key": "k", "holds": holds})
    result = {"params": params.model_dump(mode="json"), "layout": LAYOUT, "backbone_sha256": backbone_sha256}
    return commit(folder, "k", result), model.eval()


@pytest.mark.parametrize(("backbone", "method", "holds"), CASES)
def test_load__returns_the_saved_network(tmp_path, backbone, method, holds):
    params = segmentation_params(backbone, model={"peft": {"method": method}}, schedule="full")
    artifact, model = save(tmp_path / "fold-0", params, holds)
    torch.manual_seed(99)
    loaded = checkpoint.load_trained(artifact)
    assert not loaded.training
    assert loaded.patch == (16, 16, 16)
    volumes = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded(volumes), model(volumes))


def test_load__refuses_a_head_of_other_weights(tmp_path):
    artifact, _ = save(tmp_path / "fold-0", segmentation_params("test_vit", schedule="full"), "head", sha256="other")
    with pytest.raises(RunError, match="the pretrained weights have changed"):
        checkpoint.load_trained(artifact)

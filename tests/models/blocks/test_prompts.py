"""Prompt tokens: comparison with a direct computation, gradient checkpointing, copies, and unsupported ViTs."""

import copy

import pytest
import timm
import torch

from medtune.config.errors import InputError
from medtune.models.peft import vpt


def prompted(depth, name="test_vit"):
    torch.manual_seed(0)
    backbone = timm.create_model(name, num_classes=0, img_size=32, depth=3).eval()
    return vpt.inject(backbone, vpt.Params(tokens=4, depth=depth))


def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("depth", ["shallow", "deep"])
@pytest.mark.parametrize("name", ["test_vit", "vit_tiny_patch16_224"])
def test_blocks__equal_a_direct_computation(depth, name):
    backbone = prompted(depth, name)
    plain = timm.create_model(name, num_classes=0, img_size=32, depth=3).eval()
    plain.load_state_dict({key: value for key, value in backbone.state_dict().items() if key != "blocks.prompts"})
    with torch.no_grad():
        x = plain.norm_pre(plain.patch_drop(plain._pos_embed(plain.patch_embed(images()))))
        for index, block in enumerate(plain.blocks):
            patches = x[:, 1:] if index == 0 else x[:, 5:]
            if index == 0 or depth == "deep":
                x = torch.cat([x[:, :1], backbone.blocks.prompts[index].expand(2, -1, -1), patches], dim=1)
            x = block(x)
        expected = plain.norm(torch.cat([x[:, :1], x[:, 5:]], dim=1))
        torch.testing.assert_close(backbone.forward_features(images()), expected)


@pytest.mark.parametrize("depth", ["shallow", "deep"])
def test_blocks__gradient_checkpointing_keeps_the_gradient(depth):
    backbone, gradients = prompted(depth), []
    for checkpointing in (False, True):
        backbone.set_grad_checkpointing(checkpointing)
        backbone.zero_grad()
        backbone.forward_features(images()).square().mean().backward()
        gradients.append(backbone.blocks.prompts.grad)
    assert float(gradients[0].abs().amin(dim=(1, 2)).min()) > 0
    torch.testing.assert_close(gradients[1], gradients[0])


def test_copy__has_its_own_prompts():
    backbone = prompted("shallow")
    other = copy.deepcopy(backbone)
    with torch.no_grad():
        expected = backbone.forward_features(images())
        other.blocks.prompts.copy_(torch.randn_like(other.blocks.prompts))
        assert torch.equal(backbone.forward_features(images()), expected)
        assert not torch.equal(other.forward_features(images()), expected)


@pytest.mark.parametrize(
    ("name", "args"),
    [("beit_base_patch16_224", {"img_size": 32}), ("eva02_tiny_patch14_224", {"img_size": 28})],
)
def test_inject__rejects_vits_with_other_position_embeddings(name, args):
    backbone = timm.create_model(name, num_classes=0, depth=1, embed_dim=48, num_heads=2, **args)
    with pytest.raises(InputError, match=r"model\.peft\.method=vpt: .* of (Beit|Eva)\. Choose another method"):
        vpt.inject(backbone, vpt.Params())

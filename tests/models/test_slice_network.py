"""2.5-D network: shapes, slices, alignment, and the control without a backbone."""

from itertools import pairwise

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from medtune.config.errors import InputError
from medtune.config.load import validate
from medtune.models.backbones import create_backbone
from medtune.models.slice_levels import level_features
from medtune.models.slice_network import SliceNetwork, slice_side

BACKBONES = ("test_vit", "test_efficientnet", "test_resnet", "test_convnext", None)


def backbone(name, patch, slice_axis=2):
    torch.manual_seed(0)
    if name is None:
        return None
    args = {"img_size": slice_side(patch, 2.0, 16, slice_axis), "depth": 4} if name == "test_vit" else {}
    return timm.create_model(name, num_classes=0, **args).eval()


def network(name, patch, channels=1, classes=3, **options):
    return SliceNetwork(backbone(name, patch, **options), channels, classes, patch, **options).eval()


def volume(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize(
    ("patch", "channels", "axis"),
    [((16, 16, 8), 1, 2), ((19, 33, 7), 2, 2), ((9, 21, 24), 1, 0), ((16, 12, 1), 4, 2), ((13, 18, 1), 3, 2)],
)
def test_network__returns_logits_of_the_size_of_the_patch(name, patch, channels, axis):
    model = network(name, patch, channels=channels, slice_axis=axis)
    with torch.no_grad():
        assert model(volume(2, channels, *patch)).shape == (2, 3, *patch)
        smaller = [side if index == axis else side - 1 for index, side in enumerate(patch)]
        assert model(volume(1, channels, *smaller)).shape == (1, 3, *smaller)


def test_levels__are_every_second_slice_with_its_neighbors():
    model = network("test_vit", (16, 16, 5))
    x = volume(1, 1, 16, 16, 5)
    levels = model.levels(x)
    assert len(levels) == 4
    assert [level.shape[-1] for level in levels] == [3] * 4
    images = torch.stack([x[0, 0, ..., slices].movedim(2, 0) for slices in ([0, 0, 1], [1, 2, 3], [3, 4, 4])])
    images = nn.functional.interpolate(images, size=(32, 32), mode="bilinear")
    with torch.no_grad():
        expected = level_features(model.backbone, images)
    for level, maps in zip(levels, expected, strict=True):
        torch.testing.assert_close(level[0].movedim(3, 0), maps, atol=1e-5, rtol=1e-5)


def test_levels__of_an_image_are_those_of_its_colors():
    model = network("test_vit", (16, 12, 1), channels=3)
    x = volume(2, 3, 16, 12, 1)
    images = nn.functional.pad(x[..., 0], (0, model.extent[1] - 12, 0, model.extent[0] - 16), mode="replicate")
    images = nn.functional.interpolate(images, size=model.pixels, mode="bilinear")
    with torch.no_grad():
        expected = level_features(model.backbone, images)
        for level, maps in zip(model.levels(x), expected, strict=True):
            torch.testing.assert_close(level[..., 0], maps, atol=1e-5, rtol=1e-5)
    assert model.head.stem[0][0].kernel_size == (3, 3, 1)


def test_levels__axis_selects_the_slices():
    x = volume(1, 2, 16, 12, 20)
    first = network("test_convnext", (16, 12, 20), channels=2)
    second = network("test_convnext", (20, 16, 12), channels=2, slice_axis=0)
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(second(x.movedim(4, 2)), first(x).movedim(4, 2), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", BACKBONES[:4])
def test_levels__are_at_the_position_of_the_structure(name):
    """A bright spot changes the features of its own place most, also in a patch that is padded."""
    patch = (40, 56, 6)
    model = network(name, patch)
    base = torch.zeros(1, 1, *patch)
    for x, y in ((6, 6), (34, 50), (6, 50)):
        spot = base.clone()
        spot[..., x - 4 : x + 4, y - 4 : y + 4, 2] = 3.0
        with torch.no_grad():
            change = (model.levels(spot)[0] - model.levels(base)[0]).abs().sum(1)[0, ..., 1]
        row, column = divmod(int(change.argmax()), change.shape[1])
        # Size of an element in voxels.
        size = (model.extent[0] / change.shape[0], model.extent[1] / change.shape[1])
        assert abs((row + 0.5) * size[0] - x) <= 4 + size[0]
        assert abs((column + 0.5) * size[1] - y) <= 4 + size[1]


@settings(max_examples=15)
@given(name=st.sampled_from(["test_convnext", None]), sides=st.tuples(*[st.integers(12, 30)] * 2, st.integers(1, 9)))
def test_network__returns_logits_of_any_size(name, sides):
    with torch.no_grad():
        assert network(name, sides)(volume(1, 1, *sides)).shape == (1, 3, *sides)


@pytest.mark.parametrize("name", BACKBONES[1:4])
def test_cnn__has_no_parameter_behind_the_last_level(name):
    model = network(name, (16, 16, 4))
    model.train()(volume(2, 1, 16, 16, 4)).square().mean().backward()
    assert [key for key, value in model.named_parameters() if value.grad is None] == []


def test_cnn__levels_equal_those_of_the_complete_backbone():
    complete = backbone("test_efficientnet", (16, 16, 4))
    images = volume(2, 3, 64, 64)
    with torch.no_grad():
        expected = complete.forward_intermediates(images, indices=[1, 2, 3, 4], intermediates_only=True)
        model = SliceNetwork(complete, 1, 3, (16, 16, 4))
        features = level_features(model.backbone.eval(), images)
    assert isinstance(model.backbone.conv_head, nn.Identity)
    assert all(torch.equal(*pair) for pair in zip(features, expected, strict=True))


def test_vit__levels_are_blocks_and_the_final_norm():
    vit = backbone("test_vit", (16, 16, 4))
    images = volume(2, 3, 32, 32)
    with torch.no_grad():
        levels = level_features(vit, images)
        final = vit.forward_features(images)[:, 1:]
        blocks = vit.forward_intermediates(images, indices=[0, 1, 2], intermediates_only=True, norm=False)
    torch.testing.assert_close(levels[3].flatten(2).transpose(1, 2), final)
    for level, expected in zip(levels, blocks, strict=False):
        torch.testing.assert_close(level, expected)
    assert not any(block._forward_hooks for block in vit.blocks)


def test_control__has_only_the_decoder_and_learns():
    model = network(None, (16, 16, 8), classes=2).train()
    assert isinstance(model.backbone, nn.Identity)
    assert model.levels(volume(1, 1, 16, 16, 8)) == []
    x = volume(2, 1, 16, 16, 8)
    mask = (nn.functional.avg_pool3d(x, 3, 1, 1)[:, 0] > 0).long()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(model(x), mask)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_network__refuses_images_that_are_too_small_and_larger_slices():
    vit = timm.create_model("test_vit", num_classes=0, img_size=32)
    with pytest.raises(
        InputError, match=r"data\.patch=\[24, 16, 8\]: .* images of 48 pixels .* reads 32 x 32\. Set .*img_size: 48"
    ):
        SliceNetwork(vit, 1, 2, (24, 16, 8))
    with pytest.raises(InputError, match=r"data\.patch=\[4, 16, 8\]: slices need sides of at least 12 voxels"):
        SliceNetwork(None, 1, 2, (4, 16, 8))
    with pytest.raises(ValueError, match="larger than those of the patch"):
        network("test_resnet", (16, 16, 8))(volume(1, 1, 20, 16, 8))
    swin = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, depths=(1, 1, 1, 1))
    with pytest.raises(InputError, match=r"SwinTransformer: .* 32 x 32 pixels .* Set .*img_size: \[32, 32\]"):
        SliceNetwork(swin, 1, 2, (16, 16, 8))
    with pytest.raises(InputError, match=r"model\.backbone=Sequential: it has no feature maps at several levels"):
        SliceNetwork(nn.Sequential(nn.Conv2d(3, 3, 1)), 1, 2, (16, 16, 8))


@pytest.mark.real
def test_real_weights__give_finite_levels_in_the_size_of_the_slices(shared):
    patch = (40, 56, 8)
    model = {
        "backbone": "deit_tiny_patch16_224",
        "head": {"kind": "linear"},
        "peft": {"method": "none"},
        "weights": str(shared / "weights" / "deit_tiny_patch16_224.safetensors"),
        "backbone_args": {"img_size": slice_side(patch, 2.0, 16)},
    }
    params = validate({"data": {"source": "synthetic", "image_size": 112}, "model": model})
    levels = SliceNetwork(create_backbone(params), 1, 3, patch).levels(volume(1, 1, *patch))
    assert [tuple(level.shape) for level in levels] == [(1, 192, 7, 7, 4)] * 4
    assert all(level.isfinite().all() for level in levels)
    # Pretrained levels differ, unlike those of a network whose blocks are skipped.
    assert not any(torch.allclose(first, second, atol=0.1) for first, second in pairwise(levels))

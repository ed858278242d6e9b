"""Networks of task segmentation: three kinds of backbones, seeds, weights, image sizes and normalization."""

import pytest
import torch
from torch import nn

from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.models.segmenter import build
from medtune.models.slice_network import SliceNetwork

PATCH = (24, 16, 16)
BASE = ("task.kind=segmentation", "data.source=phantom", "model.head.kind=decoder", "frozen.monitor=dice",
        "finetune.monitor=dice", "gate.metric=dice", "model.backbone_args={}")  # fmt: skip


def params_for(backbone, *sets, weights="none"):
    return load(sets=[*BASE, f"model.backbone={backbone}", f"model.weights={weights}", *sets])


def volume(channels=1, patch=PATCH):
    return torch.randn(2, channels, *patch, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("backbone", ["none", "unet", "brain_unet3d", "test_vit", "test_convnext"])
def test_build__returns_logits_per_voxel_and_depends_only_on_the_seed(backbone):
    params = params_for(backbone)
    torch.manual_seed(99)
    first = build(params, 2, 3, PATCH)
    torch.manual_seed(7)
    second = build(params, 2, 3, PATCH, load_weights=False)
    assert not first.training
    assert first.patch == PATCH
    assert isinstance(first.backbone, nn.Identity) == (backbone == "none")
    assert first.state_dict().keys() == second.state_dict().keys()
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    with torch.no_grad():
        assert first(volume(2)).shape == (2, 3, *PATCH)
    other = build(params.model_copy(update={"seed": 8}), 2, 3, PATCH)
    assert not torch.equal(next(other.head.parameters()), next(first.head.parameters()))


@pytest.mark.parametrize("backbone", ["none", "test_vit", "test_resnet"])
def test_build__runs_on_the_meta_device(backbone):
    with torch.device("meta"):
        network = build(params_for(backbone), 1, 4, PATCH, load_weights=False)
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}


@pytest.mark.parametrize(
    ("sets", "side"),
    [
        ([], 48),
        (["model.head.slice_scale=4"], 96),
        (["model.head.slice_axis=x"], 32),
        (["model.backbone_args={img_size: 64}"], 64),
    ],
)
def test_build__sets_the_image_size_of_a_vit_from_the_patch(sets, side):
    network = build(params_for("test_vit", *sets), 1, 2, PATCH)
    assert isinstance(network, SliceNetwork)
    assert network.pixels == (side, side)


def test_build__refuses_images_that_are_smaller_than_the_patch():
    with pytest.raises(InputError, match=r"data\.patch=\[24, 16, 16\]: its slices need images of 48 pixels"):
        build(params_for("test_vit", "model.backbone_args={img_size: 32}"), 1, 2, PATCH)


def test_build__loads_weights_only_if_requested():
    loaded = build(params_for("test_vit", weights="bundled"), 1, 2, PATCH)
    random = build(params_for("test_vit", weights="bundled"), 1, 2, PATCH, load_weights=False)
    name = "blocks.0.attn.qkv.weight"
    assert not torch.equal(loaded.backbone.get_parameter(name), random.backbone.get_parameter(name))
    assert torch.equal(loaded.head.get_parameter("output.weight"), random.head.get_parameter("output.weight"))


def test_build__converts_slices_to_the_normalization_of_the_weights():
    """With mean and standard deviation 0.5, an image that ImageNet's values normalize to z is 2 (z s + m) - 1."""
    half = build(params_for("test_vit", "model.normalization={mean: [.5, .5, .5], std: [.5, .5, .5]}"), 1, 2, PATCH)
    same = build(
        params_for("test_vit", "model.normalization={mean: [.485, .456, .406], std: [.229, .224, .225]}"), 1, 2, PATCH
    )
    assert isinstance(half, SliceNetwork)
    assert isinstance(same, SliceNetwork)
    plain, converted = same._images(volume()), half._images(volume())
    mean, std = (torch.tensor(values)[:, None, None] for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    torch.testing.assert_close(converted, 2 * (plain * std + mean) - 1, atol=1e-5, rtol=1e-5)
    assert not same.converts
    assert abs(float(plain.mean())) < 0.2


def test_build__refuses_a_patch_that_the_network_cannot_read():
    with pytest.raises(InputError, match=r"data\.patch=\[24, 16, 12\]: unet needs multiples of \[8, 8, 8\]"):
        build(params_for("unet"), 1, 2, (24, 16, 12))


@pytest.mark.real
def test_real_weights__build_and_run(shared):
    for backbone, name, rule in (
        ("deit_tiny_patch16_224", "blocks.3.mlp.fc1.weight", "zscore"),
        ("brain_unet3d", "levels.1.conv1.weight", "minmax"),
    ):
        weights = shared / "weights" / f"{backbone}.safetensors"
        network = build(params_for(backbone, f"data.intensity.rule={rule}", weights=weights), 1, 3, PATCH)
        with torch.no_grad():
            assert network(volume()).isfinite().all()
        random = build(params_for(backbone), 1, 3, PATCH)
        assert not torch.equal(network.backbone.get_parameter(name), random.backbone.get_parameter(name))

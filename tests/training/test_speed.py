"""Values of `auto`, which enables nothing on a CPU."""

import pytest
import torch
from torch import nn

from medtune.training import speed

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("test_efficientnet", True),
        ("resnet50", True),
        ("test_vit", False),
        ("none", False),
        ("unet", False),
    ],
)
def test_channels_last__auto_enables_it_for_cnns_on_a_gpu(backbone, expected):
    assert speed.use_channels_last("auto", backbone, GPU) is expected
    assert speed.use_channels_last("auto", backbone, CPU) is False


def test_channels_last__layers_of_volumes_stay_as_they_are():
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv3d(2, 3, 3), nn.BatchNorm2d(3))
    before = [tensor.clone() for tensor in network.state_dict().values()]
    speed.to_channels_last(network)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert network[1].weight.is_contiguous()
    assert all(torch.equal(old, new) for old, new in zip(before, network.state_dict().values(), strict=True))


@pytest.mark.parametrize("setting", [True, False])
def test_channels_last__explicit_setting_is_used(setting):
    assert speed.use_channels_last(setting, "test_vit", CPU) is setting
    assert speed.use_compile(setting, CPU) is setting


def test_use_compile__auto_requires_a_gpu_and_a_compiler(monkeypatch):
    assert not speed.use_compile("auto", CPU)
    monkeypatch.setattr(speed, "find_spec", lambda name: object())
    monkeypatch.setattr(speed.shutil, "which", lambda name: "/usr/bin/cc")
    assert speed.use_compile("auto", GPU)
    monkeypatch.setattr(speed.shutil, "which", lambda name: None)
    assert not speed.use_compile("auto", GPU)

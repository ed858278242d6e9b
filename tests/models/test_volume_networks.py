"""Networks that read volumes: split into encoder and decoder, weights, ONNX export and errors."""

import importlib.util
import re
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from medtune.config import registry
from medtune.config.errors import InputError
from medtune.models.volume_networks import ARCHITECTURES, check_patch, create_volume_network

SHAPES = {"swinunetr": (64, 32, 32)}
NAMES = list(ARCHITECTURES)
MONAI = [name for name in NAMES if name != "brain_unet3d"]


def volume(name, count=1, channels=1):
    shape = SHAPES.get(name, (16, 32, 16))
    return torch.randn(count, channels, *shape, generator=torch.Generator().manual_seed(1))


def monai_network(name, classes=3):
    """Return the network of MONAI, not split, with the default arguments."""
    import monai.networks.nets

    architecture = ARCHITECTURES[name]
    cls = getattr(monai.networks.nets, architecture.monai)
    return cls(spatial_dims=3, in_channels=1, out_channels=classes, **architecture.defaults).eval()


@pytest.mark.parametrize("name", NAMES)
def test_network__maps_volumes_to_logits_of_the_same_shape(name):
    network = create_volume_network(name, channels=2, classes=3)
    volumes = volume(name, count=2, channels=2)
    with torch.no_grad():
        assert network(volumes).shape == (2, 3, *volumes.shape[2:])
    check_patch(network, name, (64, 64, 64) if name == "swinunetr" else volumes.shape[2:])
    assert not network.training


@pytest.mark.parametrize("name", NAMES)
def test_network__encoder_and_decoder_share_no_tensor(name):
    network = create_volume_network(name, channels=1, classes=3)
    encoder = {id(parameter) for parameter in network.backbone.parameters()}
    assert encoder
    assert not encoder & {id(parameter) for parameter in network.head.parameters()}


@pytest.mark.parametrize("name", MONAI)
def test_network__equals_the_network_of_monai_with_its_weights(name, tmp_path):
    torch.manual_seed(0)
    reference = monai_network(name)
    state = dict(reference.state_dict())
    save_file({key: value.clone() for key, value in state.items()}, tmp_path / "net.safetensors")
    network = create_volume_network(name, 1, 3, weights=str(tmp_path / "net.safetensors"))
    parameters = {id(parameter) for parameter in reference.parameters()}
    assert len(parameters) == len(list(network.parameters()))
    with torch.no_grad():
        assert torch.equal(network(volume(name)), reference(volume(name)))


def test_weights__decoder_for_other_classes_keeps_random_weights(tmp_path, capsys):
    reference = create_volume_network("brain_unet3d", 1, 1)
    names = {"levels.0": "enc1", "levels.1": "enc2", "levels.2": "enc3"}
    state = {}
    for key, value in reference.backbone.state_dict().items():
        level = key[: len("levels.0")]
        state[f"module.{names[level]}{key[len(level) :]}"] = value.clone()
    save_file(state, tmp_path / "encoder.safetensors")
    network = create_volume_network("brain_unet3d", 1, 5, weights=str(tmp_path / "encoder.safetensors"))
    for key, value in network.backbone.state_dict().items():
        assert torch.equal(value, reference.backbone.state_dict()[key])
    assert "random weights for dec3.up.weight" in capsys.readouterr().out
    assert network.head.output.out_channels == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("enc2.conv1.weight"), r"the file has no enc2\.conv1\.weight"),
        (lambda state: state.update({"enc4.weight": torch.ones(1)}), r"the network has no enc4\.weight"),
        (
            lambda state: state.update({"enc1.conv1.weight": torch.ones(8, 2, 3, 3, 3)}),
            r"enc1\.conv1\.weight has the shape \[8, 2, 3, 3, 3\], expected \[8, 1, 3, 3, 3\]",
        ),
        (lambda state: state["enc1.conv1.bias"].fill_(float("nan")), r"enc1\.conv1\.bias contains NaN"),
    ],
)
def test_weights__refuses_a_file_that_does_not_fit(tmp_path, change, message):
    from medtune.models.brain_unet import BrainUNet

    state = {key: value.clone() for key, value in BrainUNet(1, 2).state_dict().items()}
    change(state)
    save_file(state, tmp_path / "net.safetensors")
    with pytest.raises(InputError, match=rf"model\.weights=.*net\.safetensors: .*{message}") as caught:
        create_volume_network("brain_unet3d", 1, 2, weights=str(tmp_path / "net.safetensors"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unett", {}, "model.backbone=unett: not a network for volumes (did you mean 'unet'?)"),
        ("unet", {"weights": "hub"}, "model.weights=hub: no weights are published for unet"),
        ("unet", {"weights": "missing.safetensors"}, "model.weights=missing.safetensors: no such file"),
        ("unet", {"args": {"depth": 3}}, 'model.backbone_args={"depth": 3}: unet does not accept them'),
        ("dynunet", {"args": {"deep_supervision": True}}, "deep_supervision is not an option"),
    ],
)
def test_create__refuses_wrong_settings_in_one_line(name, options, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        create_volume_network(name, 1, 2, **options)
    assert "\n" not in str(caught.value)


def test_create__names_the_extra_if_monai_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai", None)  # Python then refuses the import
    with pytest.raises(
        InputError,
        match=r'model\.backbone=unet: it needs MONAI, .*Run pip install "medtune\[segment\]"',
    ):
        create_volume_network("unet", 1, 2)
    assert create_volume_network("brain_unet3d", 1, 2)(volume("brain_unet3d")).shape[1] == 2


def test_create__names_einops_if_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "einops", None)
    with pytest.raises(
        InputError,
        match=r'model\.backbone=swinunetr: it needs einops, .*Run pip install "medtune\[segment\]"',
    ):
        create_volume_network("swinunetr", 1, 2)


@pytest.mark.parametrize("patch", [(16, 16, 12), (16, 16, 8), (0, 16, 16)])
def test_check_patch__refuses_patches_that_the_network_cannot_read(patch):
    network = create_volume_network("unet", 1, 2)
    with pytest.raises(InputError, match=r"data\.patch=.*: unet needs multiples of \[8, 8, 8\] voxels"):
        check_patch(network, "unet", patch)


def test_check_patch__reads_the_strides_of_each_axis():
    args = {"strides": (1, (2, 2, 1), 2), "kernel_size": (3, 3, 3), "upsample_kernel_size": ((2, 2, 1), 2),
            "filters": (8, 8, 8)}  # fmt: skip
    network = create_volume_network("dynunet", 1, 2, args=args)
    assert network.factors == (4, 4, 2)
    check_patch(network, "dynunet", (8, 8, 4))
    with pytest.raises(InputError, match=r"multiples of \[4, 4, 2\]"):
        check_patch(network, "dynunet", (8, 6, 4))
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 8, 4, 6)).shape == (1, 2, 8, 4, 6)


@pytest.mark.parametrize(
    "name",
    ["unet", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dynunet", "segresnet", "brain_unet3d"))],
)
def test_network__exports_to_onnx_with_equal_outputs(name, tmp_path):
    torch.manual_seed(0)
    network = create_volume_network(name, 1, 3)
    example, path = torch.randn(2, 1, 16, 16, 16), tmp_path / "patch.onnx"
    batch = torch.export.Dim("batch", min=1, max=64)
    torch.onnx.export(network, (example,), path, dynamo=True, dynamic_shapes=[{0: batch}], verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 3):
        volumes = torch.randn(count, 1, 16, 16, 16)
        with torch.no_grad():
            expected = network(volumes).numpy()
        output = session.run(None, {session.get_inputs()[0].name: volumes.numpy()})[0]
        assert np.abs(output - expected).max() < 1e-4


@pytest.mark.real
def test_brain_unet__equals_its_reference_and_trains_with_peft(shared):
    weights = shared / "weights" / "brain_unet3d.safetensors"
    spec = importlib.util.spec_from_file_location("net3d", shared / "weights" / "net3d.py")
    net3d = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(net3d)
    reference = net3d.BrainUNet()
    network = create_volume_network("brain_unet3d", 1, 1, weights=str(weights))
    reference.load_state_dict(load_file(weights))
    assert sum(parameter.numel() for parameter in network.parameters()) == 171_465
    volumes = torch.rand(1, 1, 32, 24, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(volumes), reference.eval()(volumes), atol=1e-5, rtol=1e-5)
    lora = registry.load_plugin("medtune.models.peft", "lora", "method")
    network.backbone = lora.inject(network.backbone, lora.Params())
    nn.functional.softplus(network(volumes)).mean().backward()
    trained = [parameter.grad for parameter in network.backbone.parameters() if parameter.requires_grad]
    assert len(trained) == 12
    assert all(gradient is not None for gradient in trained)

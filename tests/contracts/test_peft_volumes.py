"""Contract of the PEFT methods on networks that read volumes."""

import copy

import pytest
import torch

from medtune.config import registry
from medtune.config.errors import InputError
from medtune.models.peft_support import VOLUME, supports
from medtune.models.volume_networks import check_method, create_volume_network

METHODS = [name for name in registry.plugin_names("medtune.models.peft") if name != "none"]
# Small arguments and the shape of the patch in voxels. With 8 filters, SegResNet has one channel per group norm group,
# and its last norm then removes shifts of the encoder.
NETWORKS = {
    "unet": ({"channels": (8, 16, 16), "strides": (2, 2)}, (16, 16, 16)),
    "dynunet": ({"filters": (8, 8, 16, 16)}, (16, 16, 16)),
    "segresnet": ({"init_filters": 16, "blocks_down": (1, 1), "blocks_up": (1,)}, (16, 16, 16)),
    "swinunetr": ({"depths": (1, 1, 1, 1)}, (64, 32, 32)),
    "brain_unet3d": ({}, (16, 16, 16)),
}
EXPECTED = {"bitfit", "norm", "norm_bias", "lora", "dora", "ssf", "svdiff", "difffit", "fishmask", "tsa"}
# The brain U-Net has neither norms nor residual branches.
REFUSED = {("norm", "brain_unet3d"), ("difffit", "brain_unet3d")}
# A case of SwinUNETR takes six seconds, so only methods with different layers are tested, and all but one at night.
SWIN_METHODS = {"lora", "norm_bias", "ssf"}
CASES = [
    (method, network)
    for method in sorted(EXPECTED)
    for network in NETWORKS
    if network != "swinunetr" or method in SWIN_METHODS
]


def plugin(method):
    return registry.load_plugin("medtune.models.peft", method, "model.peft.method")


def volume(shape):
    return torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(1))


def adapted(method, name):
    """Return the network before and after three training steps, a batch, and the names with and without gradient."""
    args, shape = NETWORKS[name]
    torch.manual_seed(0)
    plain = create_volume_network(name, 1, 3, args=args)
    network, module = copy.deepcopy(plain), plugin(method)
    network.backbone = module.inject(network.backbone, module.Params())
    volumes = volume(shape)
    masks = torch.randint(0, 3, (2, *shape), generator=torch.Generator().manual_seed(2))
    if hasattr(module, "prepare"):
        module.prepare(network, [(volumes, masks)], module.Params())
    trained = {key: value for key, value in network.named_parameters() if value.requires_grad}
    largest = dict.fromkeys(trained, 0.0)
    optimizer = torch.optim.Adam(trained.values(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network.train()(volumes), masks).backward()
        for key, value in trained.items():
            largest[key] = max(largest[key], 0.0 if value.grad is None else float(value.grad.abs().max()))
        optimizer.step()
    return plain, network.eval(), volumes, largest


def marks(method, name):
    group = pytest.mark.xdist_group(f"{method}-{name}")
    return [group, pytest.mark.nightly] if name == "swinunetr" and method != "lora" else [group]


@pytest.fixture(
    scope="module",
    params=[pytest.param(case, id="-".join(case), marks=marks(*case)) for case in CASES if case not in REFUSED],
)
def case(request):
    """Return method, network and the result of `adapted`, which the tests share and do not modify."""
    return request.param, *adapted(*request.param)


def test_method__gives_a_gradient_to_every_trained_tensor(case):
    _, _, network, _, largest = case
    adapter = {key: value for key, value in largest.items() if key.startswith("backbone.")}
    assert adapter
    assert all(parameter.requires_grad for parameter in network.head.parameters())
    # The gradient of a tensor without effect is numerical noise, about 1e-9.
    assert [key for key, value in adapter.items() if value < 1e-7] == []


def test_method__trains_fewer_parameters_than_full_fine_tuning(case):
    _, plain, network, *_ = case
    trained = sum(p.numel() for p in network.backbone.parameters() if p.requires_grad)
    assert 0 < trained < sum(p.numel() for p in plain.backbone.parameters())


def test_method__merge_restores_the_architecture_and_the_outputs(case):
    (method, _), plain, network, volumes, _ = case
    network = copy.deepcopy(network)
    with torch.no_grad():
        expected = network(volumes)
        assert float((plain(volumes) - expected).abs().max()) > 1e-3  # training changed the output
        network.backbone = plugin(method).merge(network.backbone)
        difference = float((network(volumes) - expected).abs().max())
    assert difference < 1e-5 * float(expected.abs().max())
    assert {type(module) for module in network.modules()} == {type(module) for module in plain.modules()}
    extra = set(network.state_dict()) - set(plain.state_dict())
    assert all(name.endswith(".bias") for name in extra)  # ssf may add a bias
    assert not set(plain.state_dict()) - set(network.state_dict())


@pytest.mark.parametrize("method", sorted(EXPECTED))
def test_method__adapts_a_complete_unet_with_transposed_convolutions(method):
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    norm = ("INSTANCE", {"affine": True})
    network = UNet(3, 1, 2, channels=(8, 16), strides=(2,), num_res_units=1, norm=norm).eval()
    module = plugin(method)
    network = module.inject(network, module.Params())
    x = volume((16, 8, 8))
    values = {name: value for name, value in network.named_parameters() if value.requires_grad}
    optimizer = torch.optim.Adam(values.values(), lr=1e-2)
    for _ in range(2):  # the first factor of a low-rank update has a gradient from the second step
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x), (x[:, 0] > 0).long()).backward()
        optimizer.step()
    assert [name for name, value in values.items() if float(value.grad.abs().max()) < 1e-7] == []
    with torch.no_grad():
        expected = network(x)
        difference = float((module.merge(network)(x) - expected).abs().max())
    assert difference < 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize(("method", "name"), CASES)
def test_method__starts_at_the_pretrained_network_or_is_refused(method, name):
    args, shape = NETWORKS[name]
    network = create_volume_network(name, 1, 3, args=args)
    with torch.no_grad():
        expected = network(volume(shape))
    if (method, name) in REFUSED:
        with pytest.raises(InputError, match=r"model\.peft\.method: it .* Choose another method"):
            plugin(method).inject(network.backbone, plugin(method).Params())
        return
    network.backbone = plugin(method).inject(network.backbone, plugin(method).Params())
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(volume(shape)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_check_method__refuses_methods_without_support_of_volumes(method):
    if method in EXPECTED:
        check_method("unet", method)
        return
    message = rf"model\.peft\.method={method}: it does not support unet \(family volume\)\. It supports \w+"
    with pytest.raises(InputError, match=message):
        check_method("unet", method)


def test_check_method__accepts_full_fine_tuning_and_names_unknown_networks():
    check_method("dynunet", "none")
    with pytest.raises(InputError, match=r"model\.backbone=dynunt: .*did you mean 'dynunet'"):
        check_method("dynunt", "lora")


def test_supports__volumes_are_not_among_the_other_families():
    assert supports(plugin("lora"), VOLUME)
    assert not supports(plugin("lokr"), VOLUME)
    assert supports(plugin("lokr"), "swin_transformer")

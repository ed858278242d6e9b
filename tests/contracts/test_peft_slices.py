"""Contract of the PEFT methods through the 2.5-D network of volumes."""

import copy
import io

import numpy as np
import onnxruntime
import pytest
import timm
import torch

from medtune.config import registry
from medtune.models.blocks.selection import NORMS
from medtune.models.peft_support import supports
from medtune.models.slice_network import SliceNetwork, slice_side

METHODS = [name for name in registry.plugin_names("medtune.models.peft") if name != "none"]
# tests/contracts/test_peft.py tests the methods on the other families.
BACKBONES = {"vit": "test_vit", "resnet": "test_resnet"}
PATCH = (20, 24, 5)
# Methods that keep layers or tokens after merging. The other methods restore the architecture of the backbone.
KEEPS_LAYERS = {"adapter", "adaptformer", "compacter", "conv_adapter", "convpass", "prefix", "tinytl", "vpt"}


def plugin(method):
    return registry.load_plugin("medtune.models.peft", method, "model.peft.method")


CASES = [(method, family) for family in BACKBONES for method in METHODS if supports(plugin(method), family)]


def create(family, depth=4):
    """Return a network with random weights."""
    torch.manual_seed(0)
    args = {"img_size": slice_side(PATCH, 2.0, 16), "depth": depth} if family == "vit" else {}
    backbone = timm.create_model(BACKBONES[family], num_classes=0, **args)
    for module in backbone.modules():  # zero-initialized residual branches of timm pass no gradient
        if isinstance(module, NORMS) and not module.weight.any():
            torch.nn.init.ones_(module.weight)
    return SliceNetwork(backbone, 1, 2, PATCH).eval()


def trained(method, family, depth=4):
    """Return network, batch and largest gradient by name of every trained tensor after three steps."""
    network, module = create(family, depth), plugin(method)
    params = module.Params()
    network.backbone = module.inject(network.backbone, params)
    volumes = torch.randn(1, 1, *PATCH, generator=torch.Generator().manual_seed(1))
    masks = (volumes[:, 0] > 0).long()
    if hasattr(module, "prepare"):
        module.prepare(network, [(volumes, masks)], params)
    values = {name: value for name, value in network.named_parameters() if value.requires_grad}
    largest = dict.fromkeys(values, 0.0)
    optimizer = torch.optim.Adam(values.values(), lr=1e-2)
    for step in range(1, 4):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(volumes), masks)
        (loss + module.penalty(network.backbone, params) if hasattr(module, "penalty") else loss).backward()
        for name, value in values.items():
            largest[name] = max(largest[name], 0.0 if value.grad is None else float(value.grad.abs().max()))
        optimizer.step()
        if hasattr(module, "after_step"):
            module.after_step(network.backbone, params, step, 3)
    return network, volumes, largest


def grouped(case):
    """Return the case as a parameter whose tests run on one worker, because they share the trained network."""
    marks = [pytest.mark.xdist_group("slices-" + "-".join(case)), *([] if case[1] == "vit" else [pytest.mark.slow])]
    return pytest.param(case, id="-".join(case), marks=marks)


@pytest.fixture(scope="module", params=map(grouped, CASES))
def case(request):
    """Return method, family and the result of `trained`, which the tests share and do not modify."""
    return request.param, *trained(*request.param)


def test_method__gives_a_gradient_to_every_trained_tensor(case):
    _, network, _, largest = case
    assert any(name.startswith("backbone.") for name in largest)
    assert all(parameter.requires_grad for parameter in network.head.parameters())
    # A tensor that the levels bypass has no gradient. Random ConvNeXts pass gradients of only 1e-8.
    assert [name for name, value in largest.items() if not value] == []


def test_method__gradient_checkpointing_keeps_the_gradients(case):
    _, network, volumes, largest = case
    gradients = []
    for checkpointing in (False, True):
        network.backbone.set_grad_checkpointing(checkpointing)
        network.zero_grad()
        network(volumes).square().mean().backward()
        gradients.append({name: value.grad for name, value in network.named_parameters() if name in largest})
    network.backbone.set_grad_checkpointing(False)
    for name, expected in gradients[0].items():
        assert (gradients[1][name] is None) is (expected is None), name
        if expected is not None:
            torch.testing.assert_close(gradients[1][name], expected, msg=name)


def test_method__merge_keeps_the_outputs(case):
    (method, family), network, volumes, _ = case
    if not hasattr(plugin(method), "merge"):
        assert method in KEEPS_LAYERS
        return
    network = copy.deepcopy(network)
    with torch.no_grad():
        expected = network(volumes)
        network.backbone = plugin(method).merge(network.backbone)
        difference = float((network(volumes) - expected).abs().max())
    assert difference < 1e-5 * float(expected.abs().max())
    if family == "vit":
        plain = create(family)
        is_plain = set(network.state_dict()) == set(plain.state_dict())
        assert ({type(m) for m in network.modules()} == {type(m) for m in plain.modules()}) is is_plain
        assert is_plain is (method not in KEEPS_LAYERS)


class Levels(torch.nn.Module):
    """The features of the slices, without the decoder, which is equal for all methods."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, volumes):
        """Return the features of every level."""
        return tuple(self.network.levels(volumes))


# Without additional layers, the graph is that of the backbone, so these methods are tested at night.
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=[] if method in KEEPS_LAYERS else [pytest.mark.nightly, pytest.mark.slow])
        for method, family in CASES
        if family == "vit"
    ],
)
def test_method__onnx_graph_gives_equal_levels(method):
    network, volumes, _ = trained(method, "vit", depth=2)
    if hasattr(plugin(method), "merge"):
        network.backbone = plugin(method).merge(network.backbone)
    stored = io.BytesIO()
    torch.onnx.export(Levels(network).eval(), (volumes,), dynamo=True, verbose=False).save(stored)
    session = onnxruntime.InferenceSession(stored.getvalue(), providers=["CPUExecutionProvider"])
    other = torch.randn(1, 1, *PATCH, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = network.levels(other)
    outputs = session.run(None, {session.get_inputs()[0].name: other.numpy()})
    for output, level in zip(outputs, expected, strict=True):
        assert np.abs(output - level.numpy()).max() < 1e-4

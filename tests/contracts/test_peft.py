"""Contract of the PEFT methods in the registry, as stage 2 requires it."""

import copy

import numpy as np
import onnxruntime
import pytest
import timm
import torch

from medtune.config import registry
from medtune.config.errors import InputError
from medtune.config.load import validate
from medtune.export.ensemble import Ensemble, Member
from medtune.export.onnx_graph import to_onnx
from medtune.models import backbones
from medtune.models.adapt import adapt, after_step, merge, penalty, prepare
from medtune.models.blocks.selection import NORMS
from medtune.models.classifier import build
from medtune.tasks.classification.export import TemperedSoftmax

METHODS = [name for name in registry.plugin_names("medtune.models.peft") if name != "none"]
BACKBONES = {"vit": "test_vit", "convnext": "test_convnext", "resnet": "test_resnet", "mobilenet": "test_efficientnet"}
SIZE = 64


def plugin(method):
    return registry.load_plugin("medtune.models.peft", method, "model.peft.method")


def params_for(method, family, **args):
    model = {"backbone": BACKBONES[family], "weights": "none", "head": {"kind": "linear"}, "peft": {"method": method}}
    if family == "vit":
        model["backbone_args"] = {"img_size": SIZE, **args}
    return validate({"data": {"source": "synthetic", "image_size": SIZE}, "model": model})


CASES = [(method, family) for method in METHODS for family in plugin(method).SUPPORTED_FAMILIES]
MERGED = [(method, family) for method, family in CASES if hasattr(plugin(method), "merge")]
# Merged methods export the original graph, so one of them represents all. Other methods are exported for one family.
UNMERGED = {method: (method, family) for method, family in CASES if (method, family) not in MERGED}
EXPORTED = [("lora", "vit"), *UNMERGED.values()]


# Methods whose additional tokens change the attention before the first step.
CHANGES_OUTPUT = {"prefix", "vpt"}


def trained(method, family, **args):
    """Return params, plain network, adapted network after three steps, images, state before and trained names."""
    params = params_for(method, family, **args)
    plain = build(params, classes=3)
    for module in plain.backbone.modules():  # zero-initialized residual branches of timm pass no gradient
        if isinstance(module, NORMS) and not module.weight.any():
            torch.nn.init.ones_(module.weight)
    model = adapt(copy.deepcopy(plain), params)
    images = torch.randn(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 0])
    prepare(model, [(images, labels)], params)
    extra, call_after_step = penalty(model, params), after_step(model, params)
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    with_gradient = set()
    for step in range(1, 4):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        (loss + extra() if extra else loss).backward()
        with_gradient |= {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        optimizer.step()
        if call_after_step:
            call_after_step(step, 3)
    return params, plain, model.eval(), images, before, with_gradient


def grouped(case):
    """Return the case as a parameter whose tests run on one worker, because they share the trained network."""
    return pytest.param(case, id="-".join(case), marks=pytest.mark.xdist_group("-".join(case)))


@pytest.fixture(scope="module", params=map(grouped, CASES))
def case(request):
    """Return the result of `trained`, which the tests share and do not modify."""
    return trained(*request.param)


def test_method__trains_only_selected_parameters(case):
    params, plain, model, _, before, with_gradient = case
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    assert any(not name.startswith("head.") for name in names)
    assert all(name in names for name, _ in model.named_parameters() if name.startswith("head."))
    moved = {name for name, value in model.state_dict().items() if not torch.equal(before[name], value)}
    shared = {id(p) for name, p in model.named_parameters() if p.requires_grad}
    allowed = {name for name, p in model.named_parameters(remove_duplicate=False) if id(p) in shared}
    if after_step(model, params):  # the method may change buffers that it added
        allowed |= {name for name, _ in model.named_buffers()} - {name for name, _ in plain.named_buffers()}
    assert moved <= allowed
    assert with_gradient == names


@pytest.mark.parametrize(("method", "family"), [case for case in CASES if case[0] not in CHANGES_OUTPUT])
def test_method__starts_at_the_pretrained_network(method, family):
    params = params_for(method, family)
    plain = build(params, classes=3)
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = plain(images)
        adapted = adapt(plain, params).eval()(images)
    torch.testing.assert_close(adapted, expected, atol=1e-4, rtol=1e-4)


def test_method__trains_fewer_parameters_than_full_fine_tuning(case):
    _, plain, model, *_ = case
    trained = sum(p.numel() for p in model.backbone.parameters() if p.requires_grad)
    assert 0 < trained < sum(p.numel() for p in plain.backbone.parameters())


def test_method__state_dict_restores_the_model(case):
    params, plain, model, images, *_ = case
    restored = adapt(copy.deepcopy(plain), params)
    restored.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, strict=True)
    with torch.no_grad():
        assert torch.equal(restored.eval()(images), model(images))


def test_method__merge_restores_the_architecture_and_the_outputs(case):
    params, plain, model, images, *_ = case
    model = copy.deepcopy(model)
    with torch.no_grad():
        unmerged = model(images)
        merged = merge(model, params)
        torch.testing.assert_close(model(images), unmerged, atol=1e-5, rtol=1e-4)
    assert merged == hasattr(plugin(params.model.peft.method), "merge")
    if not merged:
        return
    assert {type(module) for module in model.modules()} == {type(module) for module in plain.modules()}
    extra = set(model.state_dict()) - set(plain.state_dict())
    assert all(name.endswith(".bias") for name in extra)  # merging may add a bias
    assert not set(plain.state_dict()) - set(model.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize(("method", "family"), EXPORTED)
def test_method__exported_network_has_equal_probabilities(method, family):
    params, _, model, *_ = trained(method, family, **({"depth": 2} if family == "vit" else {}))
    merge(model, params)
    deployed = Ensemble([Member(model, TemperedSoftmax(1.5))], "probabilities")
    graph = to_onnx(deployed, SIZE, params.export.opset, {}, deployed.names).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    for n in (1, 3):
        images = np.random.default_rng(n).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)
        with torch.inference_mode():
            expected = deployed(torch.from_numpy(images))[0].numpy()
        assert np.abs(session.run(None, {"images": images})[0] - expected).max() < 1e-4


GOLDEN = {
    "bitfit": 102_912,
    "norm": 38_400,
    "lora": 294_912,
    "ssf": 205_824,
    "norm_bias": 122_112,
    "attention": 28_348_416,
    "apla": 7_087_104,
    "vpt": 38_400,
    "adapter": 2_379_264 + 38_400,  # plus the norms
    "compacter": 24 * (4 * (192 + 6) + 24 + 4 * (6 + 192) + 768) + 4**3 + 38_400,
    "adaptformer": 1_189_632,
    "prefix": 184_320,
    "adalora": 442_512,
}


@pytest.mark.parametrize(("method", "count"), GOLDEN.items())
def test_method__number_of_parameters_equals_the_closed_form(method, count):
    module = plugin(method)
    with torch.device("meta"):  # only shapes matter
        backbone = module.inject(timm.create_model("vit_base_patch16_224", num_classes=0), module.Params())
    assert sum(p.numel() for p in backbone.parameters() if p.requires_grad) == count


@pytest.mark.parametrize("method", METHODS)
def test_method__rejects_unsupported_families(method):
    unsupported = [family for family in BACKBONES if family not in plugin(method).SUPPORTED_FAMILIES]
    for family in unsupported:
        with pytest.raises(
            InputError, match=rf"method={method}: it does not support {BACKBONES[family]} .* It supports"
        ):
            backbones.check_backbone(params_for(method, family))


def test_registry__has_all_methods():
    assert {
        "bitfit", "norm", "attention", "norm_bias", "norm_bias_attention", "lora", "ssf", "svdiff", "difffit", "tsa",
        "adapter", "adaptformer", "vpt", "ia3", "compacter", "fact", "convpass",
        # added later
        "dora", "adalora", "loha", "lokr", "hira", "oft", "boft", "hra", "pissa", "rslora", "vera", "fourierft", "miss",
        "randlora", "shira", "delora", "prefix", "kadaptation", "fishmask", "tinytl", "conv_adapter", "apla",
    } <= set(METHODS)  # fmt: skip


@pytest.mark.parametrize("family", BACKBONES)
def test_full_fine_tuning__trains_every_used_parameter(family):
    params = params_for("none", family)
    plain = build(params, classes=3)
    model = adapt(copy.deepcopy(plain), params)
    images = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    used = copy.deepcopy(plain).requires_grad_(True)
    used(images).sum().backward()
    expected = {name for name, parameter in used.named_parameters() if parameter.grad is not None}
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == expected
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert merge(model, params)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    # The frozen stage trains this head on the features of the backbone.
    with torch.no_grad():
        features = plain.features(images)
        assert torch.equal(plain.head(features), plain(images))
    assert sum(p.numel() for p in plain.head.parameters()) == 3 * (features.shape[-1] + 1)

"""Graphs with weights in a second file, as for networks above protobuf's limit, tested with a tiny network."""

import hashlib
import json

import numpy as np
import onnx
import pytest
import torch

from benchmarks.inference_model import InferenceModel
from medtune.config.load import validate
from medtune.export.fp16 import to_half
from medtune.export.onnx_file import check_graph, open_graph, predictor_of, weight_bytes, write_graph
from medtune.export.onnx_graph import to_onnx
from medtune.models.classifier import build
from medtune.serving.bundle import Bundle
from medtune.serving.manifest import BundleError
from tests.robustness.tiny_bundle import write_bundle

SIDE = 8
LIMIT = 1000
IMAGES = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)


class Tiny(torch.nn.Module):
    """Network for two classes with a convolution and two linear layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 16, 4, stride=4), torch.nn.GELU(), torch.nn.Flatten(), torch.nn.Linear(64, 64),
            torch.nn.GELU(), torch.nn.Linear(64, 2),
        )  # fmt: skip

    def forward(self, images):
        return self.body(images.permute(0, 3, 1, 2).float() / 255).softmax(-1)


@pytest.fixture(scope="module")
def graph():
    return to_onnx(Tiny().eval(), SIDE, 20, {})


def test_write_graph__preserves_the_graph_and_outputs(graph, tmp_path):
    before, expected = graph.SerializeToString(), predictor_of(graph)(IMAGES)
    assert write_graph(graph, tmp_path / "small.onnx") == []
    for _ in range(2):  # a file of an earlier run is replaced instead of extended
        assert write_graph(graph, tmp_path / "model.onnx", LIMIT) == ["model.onnx.data"]
    assert (tmp_path / "model.onnx.data").stat().st_size < 1.5 * weight_bytes(graph)
    assert (tmp_path / "model.onnx").stat().st_size < weight_bytes(graph)
    assert np.array_equal(predictor_of(graph, LIMIT)(IMAGES), expected)
    assert np.array_equal(open_graph(tmp_path / "model.onnx", ["model.onnx.data"])(IMAGES), expected)
    assert graph.SerializeToString() == before
    check_graph(graph, LIMIT)


def test_to_half__large_graph_equals_small_graph(graph):
    for emulate in (False, True):
        small, large = to_half(graph, emulate), to_half(graph, emulate, LIMIT)
        assert small.SerializeToString() == large.SerializeToString()


@pytest.fixture
def bundle(graph, tmp_path):
    """Write a bundle with weights in model.onnx.data."""

    def write(listed=True, **changes):
        folder = write_bundle(tmp_path / "bundle")
        external = write_graph(graph, folder / "model.onnx", LIMIT)
        np.save(folder / "sample_output.npy", predictor_of(graph)(np.load(folder / "sample_input.npy")))
        content = (folder / "model.onnx").read_bytes()
        names = ["model.onnx", "model.onnx.data", "sample_input.npy", "sample_output.npy"]
        entry = {"file": "model.onnx", "shipped": True, "reason": None} | (
            {"external_data": external} if listed else {}
        )
        files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
        return write_bundle_of(folder, content, files, {"fp32": entry}, changes)

    return write


def write_bundle_of(folder, content, files, precisions, changes):
    from medtune.serving.manifest import dump_manifest

    document = json.loads((folder / "bundle.json").read_text())
    document.pop("sha256", None)
    document |= {"files": files, "precisions": precisions, **changes}
    (folder / "bundle.json").write_text(dump_manifest(document), encoding="utf-8")
    assert (folder / "model.onnx").read_bytes() == content
    return folder


def test_bundle__with_listed_weights_loads_and_predicts(bundle, graph):
    loaded = Bundle.load(bundle())
    assert loaded.self_test() < 1e-6
    assert np.allclose(loaded.run(IMAGES), predictor_of(graph)(IMAGES), atol=1e-6)


def test_bundle__unlisted_corrupted_or_missing_weights_are_an_error(bundle):
    with pytest.raises(BundleError, match="external data"):
        Bundle.load(bundle(listed=False))
    folder = bundle()
    data = bytearray((folder / "model.onnx.data").read_bytes())
    data[5] ^= 1
    (folder / "model.onnx.data").write_bytes(data)
    with pytest.raises(BundleError, match=r"model\.onnx\.data is damaged"):
        Bundle.load(folder)
    (folder / "model.onnx.data").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx\.data is missing"):
        Bundle.load(folder)
    elsewhere = {"file": "model.onnx", "shipped": True, "reason": None, "external_data": ["../other"]}
    folder = bundle(precisions={"fp32": elsewhere})
    with pytest.raises(BundleError, match=r"\.external_data\" is .*expected a list of files that key \"files\" lists"):
        Bundle.load(folder)


@pytest.mark.slow
def test_export__network_with_external_weights(tmp_path):
    model = {"backbone": "test_vit", "weights": "none", "head": {"kind": "linear"}, "peft": {"method": "none"},
             "backbone_args": {"img_size": 32}}  # fmt: skip
    network = build(validate({"data": {"source": "synthetic", "image_size": 32}, "model": model}), classes=3)
    graph = to_onnx(InferenceModel(network, 1.0), 32, 20, {})
    images = np.zeros((2, 32, 32, 3), np.uint8)
    external = write_graph(graph, tmp_path / "model.onnx", 100_000)
    with torch.inference_mode():
        expected = InferenceModel(network, 1.0)(torch.from_numpy(images)).numpy()
    assert np.abs(open_graph(tmp_path / "model.onnx", external)(images) - expected).max() < 1e-5
    onnx.checker.check_model(str(tmp_path / "model.onnx"))

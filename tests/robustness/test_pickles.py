"""Pickles that execute code, in every file that MedTune loads; external data of ONNX models; objects in YAML.

Each payload creates a folder, the canary, when it is executed. All digests of the files are correct, as if an attacker
had changed the file and its digest.
"""

import contextlib
import pickle

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from medtune.config.load import load as load_params
from medtune.serving.bundle import Bundle
from tests.robustness.pickles.payloads import payloads
from tests.robustness.pickles.readers import READERS
from tests.robustness.profile import scale
from tests.robustness.reading import problem
from tests.robustness.tiny_bundle import red_model, write_bundle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.faults(
        row=6,
        title="a file contains pickled code, or an ONNX file refers to other files",
        target="No code is executed. MedTune does not try to load the file in another way",
    ),
]
# Readers that execute a pickle if their library is allowed to.
UNPICKLING = (
    "weights .pth", "weights in medtune.doctor", "weights in the hub's cache", "logits", "sample input of a bundle",
    "sample output of a bundle",
)  # fmt: skip
OUTSIDE = ("../weights.bin", "a/../../weights.bin", "{folder}/weights.bin", "/dev/zero", "missing.bin")


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


@pytest.fixture(autouse=True)
def hub_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


@pytest.mark.parametrize("reader", READERS)
def test_pickles__are_not_executed(faults, tmp_path, canary, reader):
    for fault, result in read_payloads(tmp_path, canary, reader):
        faults.count(fault, result)


@pytest.mark.parametrize("reader", UNPICKLING)
def test_pickles__an_execution_is_noticed(tmp_path, canary, monkeypatch, reader):
    load, read = torch.load, np.lib.format.read_array
    monkeypatch.setattr(torch, "load", lambda path, **kwargs: load(path, map_location="cpu", weights_only=False))
    monkeypatch.setattr(np.lib.format, "read_array", lambda stream, **kwargs: read(stream, allow_pickle=True))
    assert "EXECUTED" in (result for _, result in read_payloads(tmp_path, canary, reader))


def test_payloads__are_executed_by_pickle(canary):
    for name, payload in payloads(canary).items():
        with contextlib.suppress(Exception):
            pickle.loads(payload)
        assert canary.exists(), name
        canary.rmdir()


@pytest.mark.parametrize("path", ["weights.bin", "link.bin", *OUTSIDE])
def test_onnx__external_data_is_not_read(faults, tmp_path, canary, path):
    folder, outside = tmp_path / "bundle", tmp_path / "weights.bin"
    folder.mkdir()
    for file in (folder / "weights.bin", outside):
        file.write_bytes(payloads(canary)["eval 2"].ljust(24, b"\0"))
    (folder / "link.bin").symlink_to(outside)
    external = path.format(folder=tmp_path)
    for model in (red_model(external), in_subgraph(external)):
        write_bundle(folder, model)
        faults.count(external, execution(canary, Bundle.load, folder))


def in_subgraph(external):
    weights = onnx.load_model_from_string(red_model(external)).graph.initializer
    weight = next(tensor for tensor in weights if tensor.external_data)
    branch = helper.make_graph([helper.make_node("Constant", [], ["w"], value=weight)], "branch", [], [])
    choice = helper.make_node("If", ["c"], ["o"], then_branch=branch, else_branch=branch)
    return helper.make_model(helper.make_graph([choice], "g", [], [])).SerializeToString()


@pytest.mark.parametrize(
    "tag",
    [
        "object/apply:os.makedirs [{canary}]",
        "object/new:os.makedirs [{canary}]",
        "object/apply:os.system ['mkdir -p {canary}']",
        "name:os.system",
        "module:os",
    ],
)
def test_params__yaml_creates_no_object(faults, tmp_path, canary, tag):
    path = tmp_path / "params.yaml"
    path.write_text(f"seed: !!python/{tag.format(canary=canary)}\n")
    faults.count(tag, execution(canary, load_params, path))


def read_payloads(folder, canary, reader):
    formats, read = READERS[reader]
    for file_format in formats:
        for name, payload in list(payloads(canary).items())[:: scale(8, 1)]:
            yield f"{reader}: {name} as {file_format.__name__}", execution(canary, read, folder, file_format(payload))


def execution(canary, read, *args):
    """Return the problem if `read(*args)` executes a payload or does not reject the file, otherwise None."""
    result = problem(read, *args)
    if canary.exists():
        canary.rmdir()
        return "EXECUTED"
    return result

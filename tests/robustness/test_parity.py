"""Every method, exported with every backbone that it supports, gives the predictions of the trained network.

The reference is the adapted network in PyTorch before it is merged. fp16 is compared twice: with the rounding of fp16
(the emulation in medtune/export/fp16.py) and as onnxruntime computes the file on a CPU. Each changed decision counts.
"""

import copy
import functools
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import numpy_helper
from sklearn.metrics import balanced_accuracy_score

from benchmarks.inference_model import InferenceModel
from medtune.data.manifest import PreparedDataset
from medtune.export import fp16, onnx_graph
from medtune.export import parity as gate
from medtune.export.ensemble import Ensemble, Member
from medtune.export.parity_check import ParityCheck
from medtune.export.precisions import FILES, PrecisionExporter, predictor
from medtune.models.adapt import merge
from medtune.tasks.classification.export import MostProbable, TemperedSoftmax
from tests.robustness.faults import Faults
from tests.robustness.networks import (
    BACKBONES,
    CLASSES,
    SIZE,
    adapted,
    params_for,
    pretrained,
    striped_images,
    supported_methods,
)
from tests.robustness.profile import scale

pytestmark = [
    pytest.mark.faults(
        row=9,
        title="a trained network is exported in fp32 and fp16, for each PEFT method and each kind of backbone",
        target="In fp32, outputs differ from torch by at most 1e-4, and all decisions are equal. In fp16, outputs "
        "differ by at most 2e-2, at least 99.9 % of the decisions are equal, and the metric drops by at most "
        "0.1 percentage points. No value is NaN. This is true for batches of 1, 2, 7 and 32 images",
    ),
    pytest.mark.slow,
]
MAX_DIFFERENCE = {"fp32": 1e-4, "fp16": 2e-2}
MAX_CHANGED = {"fp32": 0.0, "fp16": 0.001}
MAX_DROP = 0.001
BATCHES = (1, 2, 7, 32)
TEMPERATURE = 1.3
CASES = [(family, method) for family in BACKBONES for method in supported_methods(family)]
VPT = ("vit", "vpt")


def grouped(cases):
    """Run the cases of a family on one worker, because they share the pretrained network."""
    return [pytest.param(*case, marks=pytest.mark.xdist_group(f"parity-{case[0]}")) for case in cases]


@pytest.mark.parametrize(("family", "method"), grouped(scale([VPT], CASES)))
def test_parity__exported_files_equal_the_trained_network(faults, tmp_path, family, method):
    compare_files(faults, tmp_path, family, method)


@pytest.mark.nightly
@pytest.mark.parametrize(("family", "method"), grouped([VPT]))
def test_parity__wrong_files_are_noticed(monkeypatch, tmp_path, family, method):
    to_onnx, half_weight, exported = onnx_graph.to_onnx, fp16._half_weight, []

    def to_wrong_onnx(*args):
        if not exported:  # the network is the same both times
            exported.append(change_weights(to_onnx(*args)))
        return exported[0]

    def coarse(tensor, name, stored):
        values = numpy_helper.to_array(half_weight(tensor, name, np.float32))
        return numpy_helper.from_array((np.round(values * 8) / 8).astype(stored), name)

    monkeypatch.setattr(onnx_graph, "to_onnx", to_wrong_onnx)
    monkeypatch.setattr(fp16, "_half_weight", coarse)
    compare_files(rejected := Faults(), tmp_path, family, method)
    assert len(rejected.lost) == 8
    assert all("does not match the trained network" in line for line in rejected.lost)
    monkeypatch.setattr(gate, "rejection_reason", lambda *_: None)
    compare_files(accepted := Faults(), tmp_path, family, method)
    assert len(accepted.lost) == 8
    assert "fp32, batches of 1: probabilities differ by up to" in accepted.lost[0]


def test_parity__covers_every_method_and_backbone():
    assert len(set(CASES)) == len(CASES) >= 95
    assert {("resnet", "none"), ("mobilenet", "tsa"), ("convnext", "adalora"), VPT} <= set(CASES)


def change_weights(graph):
    for tensor in graph.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.dims and values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(values * np.float32(1.003), tensor.name))
    return graph


def compare_files(faults, folder, family, method):
    """Adapt a network, export it and compare its predictions at each precision and batch size."""
    images, labels = striped_images(scale(64, 1024), SIZE, seed=2)
    reference, predictors, failure = export(folder, family, method, images, labels)
    for precision, batch in product(MAX_DIFFERENCE, BATCHES):
        problem = failure
        for predict in predictors.get(precision, ()):
            probabilities = in_batches(predict, images, batch)
            problem = problem or compare(faults, precision, reference, probabilities, labels)
        faults.count(f"{method} on {family}, {precision}, batches of {batch}", problem)


def compare(faults, precision, reference, probabilities, labels):
    if not np.isfinite(probabilities).all():
        return "some probabilities are not finite"
    difference = float(np.abs(probabilities - reference).max())
    changed = float((probabilities.argmax(1) != reference.argmax(1)).mean())
    before, after = (balanced_accuracy_score(labels, values.argmax(1)) for values in (reference, probabilities))
    faults.measure(f"greatest {precision} difference", difference)
    faults.measure(f"greatest fraction of {precision} decisions that differ", changed)
    faults.measure(f"greatest {precision} metric drop", max(before - after, 0.0))
    if difference > MAX_DIFFERENCE[precision]:
        return f"probabilities differ by up to {difference:.2g}"
    if changed > MAX_CHANGED[precision]:
        return f"{changed:.2%} of the decisions differ"
    return f"balanced accuracy drops by {before - after:.2g}" if before - after > MAX_DROP else None


def export(folder, family, method, images, labels):
    """Adapt a network and export it as the export stage does.

    Returns:
        Probabilities (n, classes) of the network before merging, functions that must agree with them by precision,
        and None or the reason why there are none.
    """
    params = params_for(method, family)
    network, change = adapted(pretrained_network(family), params, *training_images())
    eager = InferenceModel(copy.deepcopy(network), TEMPERATURE)
    with torch.inference_mode():
        reference = in_batches(lambda batch: eager(torch.from_numpy(batch)).numpy(), images, 32)
    score = balanced_accuracy_score(labels, reference.argmax(1))
    if change <= 1e-3 or score < 0.8:
        return reference, {}, f"no useful reference: features change by {change:.1g}, balanced accuracy {score:.2f}"
    merge(network, params)
    model = Ensemble([Member(network, TemperedSoftmax(TEMPERATURE))], "probabilities", MostProbable())
    fp32 = onnx_graph.to_onnx(model, SIZE, params.export.opset, {}, model.names)
    manifest = {"precisions": {}, "parity": {}}
    exporter = precision_exporter(fp32, params, images, labels, np.stack([reference, reference], axis=1))
    try:
        for precision in MAX_DIFFERENCE:
            exporter.export(folder, manifest, precision)
            if reason := manifest["precisions"][precision]["reason"]:
                return reference, {}, f"{precision} is not exported: {reason}"
    except RuntimeError as error:
        return reference, {}, str(error)
    graphs = {precision: (folder / FILES[precision]).read_bytes() for precision in MAX_DIFFERENCE}
    emulated = fp16.to_half(fp32, emulate=True).SerializeToString()
    return reference, {"fp32": [mean(graphs["fp32"])], "fp16": [mean(emulated), mean(graphs["fp16"])]}, None


def precision_exporter(fp32, params, images, labels, reference):
    """Return the exporter of the export stage, which compares the default number of images."""
    n = len(images)
    rows, names = np.arange(min(n, params.export.parity_images)), tuple(map(str, range(n)))
    splits = np.full((n, 1), "test")
    prepared = PreparedDataset(
        Path(), {}, CLASSES, names, labels, np.array(names), np.zeros(n, int), splits, images, names
    )
    manifest = {"task": {"kind": "classification"}, "classes": list(CLASSES), "decision": {"kind": "argmax"}}
    check = ParityCheck(prepared, rows, images[rows], reference[rows], manifest)
    return PrecisionExporter(fp32, check, lambda: images, params.export)


def mean(graph):
    """Return the function from images to the mean over the networks of an exported graph."""
    predict = predictor(graph)
    return lambda images: predict(images)[:, 0]


def in_batches(predict, images, batch):
    return np.concatenate([predict(images[start : start + batch]) for start in range(0, len(images), batch)])


@functools.cache
def training_images():
    return striped_images(384, SIZE, seed=1)


@functools.cache
def pretrained_network(family):
    return pretrained(params_for("none", family), *training_images())

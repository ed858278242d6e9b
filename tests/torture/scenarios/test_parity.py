"""Parity of an exported method, and that a file that says something else would be seen."""

import numpy as np
import pytest
from onnx import numpy_helper

from medtune.export import fp16, onnx_graph
from medtune.export import parity as gate
from torture.registry import load

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("parity")]


def test_parity__exported_says_what_was_trained(small):
    outcome = small("parity")
    assert outcome.lost == []
    assert outcome.injected == outcome.survived == 8
    assert 0 < outcome.figures["greatest fp32 difference"] <= 1e-4
    assert 1e-4 < outcome.figures["greatest fp16 difference"] <= 2e-2


def test_parity__wrong_files_are_seen_where_the_export_lets_them_pass(small, monkeypatch):
    real, rounded = onnx_graph.to_onnx, fp16._half_weight

    def other_weights(*args):
        graph = real(*args)
        for tensor in graph.graph.initializer:
            if tensor.dims and (values := numpy_helper.to_array(tensor)).dtype == np.float32:
                tensor.CopyFrom(numpy_helper.from_array(values * np.float32(1.003), tensor.name))
        return graph

    def coarse(tensor, name, stored):
        found = numpy_helper.to_array(rounded(tensor, name, np.float32))
        return numpy_helper.from_array((np.round(found * 8) / 8).astype(stored), name)

    made = []  # both times the same network is exported
    monkeypatch.setattr(
        onnx_graph, "to_onnx", lambda *args: made[0] if made else made.append(other_weights(*args)) or made[0]
    )
    monkeypatch.setattr(fp16, "_half_weight", coarse)
    stopped = small("parity", "vit").lost
    assert len(stopped) == 8
    assert all("does not match the trained network" in line for line in stopped)
    monkeypatch.setattr(gate, "rejection_reason", lambda *figures: None)
    passed = small("parity", "vit").lost
    assert len(passed) == 8
    assert "fp32, batches of 1: probabilities differ by up to" in passed[0]


def test_parity__every_method_and_backbone_is_in_the_full_count():
    parts = load("parity").parts(True).values()
    cases = {(name, part["family"]) for part in parts for name in part["names"]}
    assert len(cases) == sum(len(part["names"]) for part in parts) >= 95
    assert {("none", "resnet"), ("tsa", "mobilenet"), ("adalora", "convnext"), ("vpt", "vit")} <= cases
    assert all(part["images"] >= 1000 for part in parts)

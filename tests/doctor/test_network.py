"""Tests of the check of the network."""

import pytest

from medtune.config.load import load
from medtune.doctor.check_result import Context
from medtune.doctor.network import check_network
from medtune.runtime.paths import RunPaths

SMALL = ("model.weights=none", "data.image_size=32", "model.head.kind=linear", "schedule=full")


def make_context(tmp_path, *sets, quick=False):
    return Context(load(sets=[*SMALL, *sets]), RunPaths(tmp_path, tmp_path / "cache"), quick=quick)


@pytest.mark.slow
def test_network__error_names_the_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path))
    result = check_network(make_context(tmp_path, "model.backbone_args={img_size: 32, depth: 2}", "finetune.lr=1e30"))
    assert result.state == "wrong"
    assert "finetune.lr=1e+30" in result.message


def test_network__quick_skips_the_check(tmp_path):
    result = check_network(make_context(tmp_path, quick=True))
    assert result.state == "ok"
    assert "--quick" in result.message

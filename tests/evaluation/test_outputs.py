from pathlib import Path

import numpy as np
import pytest

from medtune.evaluation import outputs
from medtune.runtime.artifact import Artifact


@pytest.fixture
def expected() -> outputs.OutputsRequest:
    rows = {"val": np.arange(4), "test": np.arange(4, 11)}
    return outputs.OutputsRequest(1, Artifact("nowhere", "key", "sha"), rows, "a" * 64)


@pytest.fixture
def result() -> outputs.Outputs:
    draw = np.random.default_rng(0)
    return {"val": draw.normal(size=(4, 3)).astype("f4"), "test": draw.normal(size=(7, 3)).astype("f4")}


def logits_path(cache: Path) -> Path:
    return cache / "logits" / f"{'a' * 64}.npz"


def test_cache_outputs__outputs_are_loaded_unchanged(tmp_path, expected, result):
    outputs.cache_outputs(expected, result, tmp_path)
    loaded = outputs.load_outputs(expected, tmp_path)
    assert all((loaded[role] == result[role]).all() for role in result)
    assert [p.name for p in (tmp_path / "logits").iterdir()] == [logits_path(tmp_path).name]


def test_load_outputs__none_without_a_file(tmp_path, expected):
    assert outputs.load_outputs(expected, tmp_path) is None


def test_load_outputs__detects_any_flipped_bit(tmp_path, expected, result):
    outputs.cache_outputs(expected, result, tmp_path)
    data = logits_path(tmp_path).read_bytes()
    for position in range(0, len(data), 7):
        flipped = data[position] ^ 1 << position % 8
        logits_path(tmp_path).write_bytes(data[:position] + bytes([flipped]) + data[position + 1 :])
        assert outputs.load_outputs(expected, tmp_path) is None


def test_load_outputs__detects_any_truncation(tmp_path, expected, result):
    outputs.cache_outputs(expected, result, tmp_path)
    data = logits_path(tmp_path).read_bytes()
    for size in range(0, len(data), 13):
        logits_path(tmp_path).write_bytes(data[:size])
        assert outputs.load_outputs(expected, tmp_path) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda result: result | {"test": result["test"][:-1]},
        lambda result: result | {"test": np.full_like(result["test"], np.nan)},
        lambda result: {"val": result["val"], "test": np.array([{}], dtype=object)},
    ],
    ids=["rows", "nan", "pickle"],
)
def test_load_outputs__other_content_is_rejected(tmp_path, expected, result, change):
    outputs.cache_outputs(expected, change(result), tmp_path)
    assert outputs.load_outputs(expected, tmp_path) is None

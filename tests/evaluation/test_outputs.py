from pathlib import Path

import numpy as np
import pytest

from medtune.evaluation import outputs
from medtune.runtime.artifact import Artifact


@pytest.fixture
def wanted() -> outputs.OutputsRequest:
    rows = {"val": np.arange(4), "test": np.arange(4, 11)}
    return outputs.OutputsRequest(1, Artifact("nowhere", "key", "sha"), rows, "a" * 64)


@pytest.fixture
def found() -> outputs.Outputs:
    draw = np.random.default_rng(0)
    return {"val": draw.normal(size=(4, 3)).astype("f4"), "test": draw.normal(size=(7, 3)).astype("f4")}


def place(cache: Path) -> Path:
    return cache / "logits" / f"{'a' * 64}.npz"


def test_store__is_read_back(tmp_path, wanted, found):
    outputs.store_outputs(wanted, found, tmp_path)
    again = outputs.load_outputs(wanted, tmp_path)
    assert all((again[role] == found[role]).all() for role in found)
    assert [p.name for p in (tmp_path / "logits").iterdir()] == [place(tmp_path).name]


def test_load__nothing_there(tmp_path, wanted):
    assert outputs.load_outputs(wanted, tmp_path) is None


def test_load__any_flipped_bit_is_found(tmp_path, wanted, found):
    outputs.store_outputs(wanted, found, tmp_path)
    whole = place(tmp_path).read_bytes()
    for position in range(0, len(whole), 7):
        flipped = whole[position] ^ 1 << position % 8
        place(tmp_path).write_bytes(whole[:position] + bytes([flipped]) + whole[position + 1 :])
        assert outputs.load_outputs(wanted, tmp_path) is None


def test_load__any_truncation_is_found(tmp_path, wanted, found):
    outputs.store_outputs(wanted, found, tmp_path)
    whole = place(tmp_path).read_bytes()
    for size in range(0, len(whole), 13):
        place(tmp_path).write_bytes(whole[:size])
        assert outputs.load_outputs(wanted, tmp_path) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found | {"test": found["test"][:-1]},
        lambda found: found | {"test": np.full_like(found["test"], np.nan)},
        lambda found: {"val": found["val"], "test": np.array([{}], dtype=object)},
    ],
    ids=["rows", "nan", "pickle"],
)
def test_load__other_content_is_refused(tmp_path, wanted, found, change):
    outputs.store_outputs(wanted, change(found), tmp_path)
    assert outputs.load_outputs(wanted, tmp_path) is None

"""Benchmark of `dvc repro` without changes in a copy of the checkout, and its errors."""

import pytest

from benchmarks import startup
from benchmarks.checkout import empty


@pytest.mark.slow
@pytest.mark.xdist_group("pipeline")
def test_measure__unchanged_pipeline_imports_no_heavy_package():
    repro, *others = startup.measure(rounds=1)
    assert repro.target == "<= 1.5x"
    assert repro.ratio == pytest.approx(repro.value / repro.reference_value)
    assert [row.what for row in others] == list(startup.SHORT)
    assert all(row.value > 0 < row.reference_value for row in others)


def test_light__heavy_import_or_other_exit_code_is_an_error(tmp_path):
    (tmp_path / "torch.py").write_text("")
    checkout = startup.Checkout(tmp_path)
    with pytest.raises(RuntimeError, match="imports torch"):
        startup._light(checkout, 0, ["-c", "import torch"])
    with pytest.raises(RuntimeError, match="ended with 3"):
        startup._light(checkout, 0, ["-c", "raise SystemExit(3)"])


@pytest.mark.slow
def test_nothing__running_stage_is_an_error():
    with empty() as project:
        startup._nothing(project)
        (project.folder / "word").write_text("another")
        with pytest.raises(RuntimeError, match="had something to do"):
            startup._nothing(project)

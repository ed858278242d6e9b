"""Benchmark of `dvc repro` without changes in a copy of the checkout, and its errors."""

import pytest

from benchmarks import startup
from benchmarks.checkout import two_stage_project


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.xdist_group("pipeline")
def test_measure__unchanged_pipeline_imports_no_heavy_package():
    repro, *others = startup.measure(rounds=1)
    assert repro.target == "<= 1.5x"
    assert repro.ratio == pytest.approx(repro.value / repro.reference_value)
    assert [row.measurement for row in others] == list(startup.COMMANDS)
    assert all(row.value > 0 < row.reference_value for row in others)


def test_time_light_command__heavy_import_or_other_exit_code_is_an_error(tmp_path):
    (tmp_path / "torch.py").write_text("")
    checkout = startup.Checkout(tmp_path)
    with pytest.raises(RuntimeError, match="imports torch"):
        startup._time_light_command(checkout, 0, ["-c", "import torch"])
    with pytest.raises(RuntimeError, match="exited with code 3"):
        startup._time_light_command(checkout, 0, ["-c", "raise SystemExit(3)"])


@pytest.mark.slow
def test_repro_without_changes__running_stage_is_an_error():
    with two_stage_project() as project:
        startup._repro_without_changes(project)
        (project.folder / "input.txt").write_text("another")
        with pytest.raises(RuntimeError, match="ran a stage"):
            startup._repro_without_changes(project)

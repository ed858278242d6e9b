"""Benchmark of the CDTM head: both formulas agree, and it runs."""

import pytest
import torch

from benchmarks.cdtm import expanded, matrix_product, measure, run


@pytest.fixture
def threads():
    return torch.get_num_threads()


def test_formulas__agree():
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(3, 5, generator=generator, dtype=torch.float64)
    mixing = torch.randn(5, 7, 7, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(matrix_product(weights, mixing), expanded(weights, mixing))


def test_run__prints_both_times_and_the_ratio(capsys, threads):
    run(batch=2, tokens=4, channels=8, centers=3, threads=threads, rounds=1)
    printed = capsys.readouterr().out
    assert "x, target 15x" in printed
    assert printed.count("relative difference") == 2


def test_measure__returns_a_row_per_measurement(threads):
    rows = measure(batch=2, tokens=4, channels=8, centers=3, threads=threads, rounds=1)
    assert [row.target for row in rows[:2]] == [">= 15x", ""]
    assert all(row.reference_value > 0 for row in rows[:2])

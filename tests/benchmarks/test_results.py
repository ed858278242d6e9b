"""Rows of benchmarks: targets, printed lines and the CSV file."""

import csv
import io

import pytest

from benchmarks import results
from benchmarks.results import Row
from benchmarks.timing import time_alternately


@pytest.mark.parametrize(
    ("row", "target", "met"),
    [
        (Row("a", 2.0, "s"), "", None),
        (Row("a", 2.0, "s", at_most=3), "<= 3 s", True),
        (Row("a", 2.0, "s", "b", 20.0, 10.0, at_least=10), ">= 10x", True),
        (Row("a", 2.0, "s", "b", 18.0, 9.0, at_least=10), ">= 10x", False),
        (Row("a", 2.0, "s", "b", 2.0, 1.0, at_least=0.9, at_most=1.1), ">= 0.9x and <= 1.1x", True),
        (Row("a", None, "s", at_most=3), "<= 3 s", None),
    ],
)
def test_row__target_and_result(row, target, met):
    assert (row.target, row.met) == (target, met)


def test_format_row__names_both_sides_ratio_and_target():
    row = Row("reading", 2.0, "s", "decoding", 18.0, 9.0, at_least=10, note="limit 12x")
    assert results.format_row(row) == "reading: 2 s, against decoding 18 s: 9x, target >= 10x: MISSED (limit 12x)"


def test_format_row__reports_a_missing_measurement():
    row = Row("training", None, "%", at_least=40, note="no compiler")
    assert results.format_row(row) == "training: not measured, target >= 40 % (no compiler)"


def test_finish__writes_rows_with_the_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    results.finish("some", [Row("a", 2.0, "s"), Row("b", 1.5, "s", at_most=1), Row("c", None, "s")], save=True)
    assert capsys.readouterr().out.splitlines() == ["a: 2 s", "b: 1.5 s, target <= 1 s: MISSED", "c: not measured"]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "results" / "some.csv").read_text())))
    assert tuple(rows[0]) == results.COLUMNS
    assert [row["met"] for row in rows] == ["", "no", ""]
    assert [row["value"] for row in rows] == ["2", "1.5", ""]
    assert all(rows[0][name] for name in ("machine", "cores", "threads", "torch", "timm", "git", "date"))


def test_time_alternately__calls_every_function_once_per_round():
    called = []
    seconds = time_alternately({name: lambda name=name: called.append(name) for name in "ab"}, rounds=2)
    assert called == list("ababab")
    assert set(seconds) == {"a", "b"}

import csv

import pytest

from medtune.evaluation.intervals import Interval
from medtune.evaluation.metric import Metric
from medtune.evaluation.subgroup_metrics import Gap, Subgroup, Subgroups
from medtune.evaluation.subgroup_tables import COLUMNS, markdown_lines, table_lines, write_subgroups

METRICS = (
    Metric("auroc", "AUROC", "max", lambda stats: stats, headline=True),
    Metric("brier", "calibration error", "min", lambda stats: stats),
)
AUROC = {
    "F": Interval(0.9, 0.8, 0.95),
    "M|x": Interval(0.7, 0.6, 0.8),
    "not recorded": Interval(None, None, None, "undefined: no image has a class that the metric needs"),
}


@pytest.fixture
def documents():
    subgroups = tuple(
        Subgroup(value, 10, 7, {"no": 3, "yes": 4}, {"auroc": auroc, "brier": Interval(0.1, None, None, "few")})
        for value, auroc in AUROC.items()
    )
    pairs = [("F", "M|x", Interval(0.2, 0.05, 0.33)), ("F", "not recorded", AUROC["not recorded"])]
    gaps = tuple(Gap("auroc", first, second, difference) for first, second, difference in pairs)
    return [Subgroups("sex", subgroups, gaps).as_dict()]


def test_table_lines__headline_metrics_gap_and_reasons(documents):
    assert list(table_lines(documents, METRICS)) == [
        "by sex        images  patients  AUROC",
        "F                 10         7  0.900 (0.800 to 0.950)",
        "M|x               10         7  0.700 (0.600 to 0.800)",
        "not recorded      10         7  –",
        "largest gap in AUROC: F - M|x: +0.200 (+0.050 to +0.330)",
        "F: brier: few.",
        "M|x: brier: few.",
        "not recorded: auroc: undefined: no image has a class that the metric needs.",
        "not recorded: brier: few.",
    ]


def test_table_lines__interval_of_the_largest_gap_holds_for_all_pairs():
    gap = Gap("auroc", "a", "b", Interval(0.2, 0.1, 0.3), 3, (0.05, 0.35))
    subgroup = Subgroup("a", 1, 1, {}, {"auroc": AUROC["F"]})
    lines = list(table_lines([Subgroups("x", (subgroup,), (gap,)).as_dict()], METRICS))
    assert lines[-1] == "largest gap in AUROC: a - b: +0.200 (+0.050 to +0.350)"


def test_write_subgroups__every_metric_and_pair(documents, tmp_path):
    write_subgroups(tmp_path / "subgroups.csv", documents)
    rows = list(csv.DictReader((tmp_path / "subgroups.csv").open(encoding="utf-8", newline="")))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 3 * 2 + 2
    assert (rows[0]["subgroup"], rows[0]["against"], rows[0]["metric"], rows[0]["value"]) == ("F", "", "auroc", "0.9")
    assert (rows[6]["subgroup"], rows[6]["against"], rows[6]["lo"]) == ("F", "M|x", "0.05")
    assert rows[7]["reason"].startswith("undefined")


def test_markdown_lines__cells_cannot_break_the_table(documents):
    lines = list(markdown_lines(documents, METRICS))
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 3 + 1
    assert {line.replace("\\|", "").count("|") for line in table} == {5}
    assert "| M\\|x | 10 | 7 | 0.700 (0.600 to 0.800) |" in lines


def test_tables__without_subgroups_are_empty(tmp_path):
    assert list(table_lines([], METRICS)) == list(markdown_lines([], METRICS)) == []

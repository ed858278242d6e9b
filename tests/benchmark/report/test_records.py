from pathlib import Path

from medtune.benchmark.report.records import CellId, CellRecord

WHERE = CellId("synthetic", "test_vit", "lora", 10, 1)


def test_identity__name():
    assert WHERE.name == "synthetic test_vit lora 10 % seed 1"


def test_cell__status():
    assert CellRecord(WHERE, Path("folder"), {}, None).status == "done"
    assert CellRecord(WHERE, None, None, "").status == "failed"
    assert CellRecord(WHERE, None, None, None).status == "pending"

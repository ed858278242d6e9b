from pathlib import Path

from medtune.benchmark.report.records import Cell, Identity

WHERE = Identity("synthetic", "test_vit", "lora", 10, 1)


def test_identity__name():
    assert WHERE.name == "synthetic test_vit lora 10 % seed 1"


def test_cell__status():
    assert Cell(WHERE, Path("folder"), {}, None).status == "done"
    assert Cell(WHERE, None, None, "").status == "failed"
    assert Cell(WHERE, None, None, None).status == "pending"

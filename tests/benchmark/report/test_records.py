from pathlib import Path

from medtune.benchmark.report.records import TrialId, TrialRecord

WHERE = TrialId("synthetic", "test_vit", "lora", 10, 1)


def test_identity__name():
    assert WHERE.name == "synthetic test_vit lora 10 % seed 1"


def test_trial__status():
    assert TrialRecord(WHERE, Path("folder"), {}, None).status == "done"
    assert TrialRecord(WHERE, None, None, "").status == "failed"
    assert TrialRecord(WHERE, None, None, None).status == "pending"

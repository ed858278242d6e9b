from pathlib import Path

from medtune.benchmark.report.records import TrialId, TrialRecord

IDENTITY = TrialId("synthetic", "test_vit", "lora", 10, 1)


def test_identity__name():
    assert IDENTITY.name == "synthetic test_vit lora 10 % seed 1"


def test_trial__status():
    assert TrialRecord(IDENTITY, Path("folder"), {}, None).status == "done"
    assert TrialRecord(IDENTITY, None, None, "").status == "failed"
    assert TrialRecord(IDENTITY, None, None, None).status == "pending"

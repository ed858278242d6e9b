import re

import pytest

from medtune.benchmark.report.page import write_report
from medtune.benchmark.report.records import TrialId, TrialRecord

FAILED = TrialRecord(TrialId("toy", "vit", "vera", 10, 1), None, None, "RuntimeError: <b>no memory</b>")
PENDING = TrialRecord(TrialId("toy", "vit", "vera", 10, 2), None, None, None)


def report(tmp_path, trials, **changes):
    options = {"metric": "auroc", "confidence": 0.95} | changes
    path = tmp_path / "report.html"
    lines = write_report(path, trials, **options)
    page = path.read_text()
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert not re.search(r"\bnan\b", re.sub(r'base64,[^"]*', "", page))
    return lines, page


def test_report__complete_grid(tmp_path, make_trials):
    trials = make_trials({"linear": 0.0, "full": 0.5, "lora": 2.0}, percents=(10, 50, 100), seeds=(1, 2))
    lines, page = report(tmp_path, [*trials, FAILED, PENDING])
    assert [line.partition(" (")[0] for line in lines[:3]] == [f"toy, vit, {percent} %" for percent in (10, 50, 100)]
    assert "20 trials: 18 done, 1 failed, 1 pending." in page
    assert "RuntimeError: &lt;b&gt;no memory" in page
    assert page.count("data:image/png;base64,") == 5  # Pareto, fractions, two forest plots, costs
    assert page.count("★ ") == 3
    assert "Every method against full" in page
    assert "▲ better" in page


def test_report__no_full_fine_tuning_and_an_undefined_metric(tmp_path, make_trials):
    trials = make_trials({"lora": 1.0, "bitfit": 0.5, "linear": 0.4}, known=False)
    trials[1].result["metrics"]["auroc"] = {"value": None, "lo": None, "hi": None, "reason": "diverged"}
    for trial in trials:
        trial.result["peak_memory_mb"] = None
    _, page = report(tmp_path, trials)
    assert "against full" not in page
    assert "leaving out test images" in page
    assert "1 of 3 trials have no results" in page


def test_report__volumes_are_not_called_images(tmp_path, make_trials):
    trials = make_trials({"lora": 1.0, "bitfit": 0.5}, known=False)
    for trial in trials:
        trial.result["item"] = "volume"
    lines, page = report(tmp_path, trials)
    assert "leaving out test volumes" in page
    assert "Intervals and tests are over volumes" in page
    assert "tested on 48 volumes" in page.lower()
    assert not re.search(r"\bimages?\b", re.sub(r'data:[^"]*', "", page) + " ".join(lines))


def test_report__one_trial(tmp_path, make_trials):
    lines, page = report(tmp_path, make_trials({"linear": 1.0}))
    assert "No other method has results" in lines[0]
    assert "Only one method has results." in page


def test_report__two_backbones_one_unfinished(tmp_path, make_trials):
    trials = make_trials({"full": 1.0, "lora": 1.0})
    _, page = report(tmp_path, [*trials, TrialRecord(TrialId("toy", "resnet", "lora", 10, 1), None, None, None)])
    assert "2 backbones (vit, resnet)" in page
    assert "No trial has a value of AUROC." in page


@pytest.mark.parametrize("trials", [[], [FAILED, PENDING]], ids=["none", "unfinished"])
def test_report__nothing_done(tmp_path, trials):
    lines, page = report(tmp_path, trials)
    assert lines == ["No recommendation: no trial has a value of AUROC."]
    assert "no trial has a value of AUROC." in page
    assert ("no memory" in page) == bool(trials)


def test_report__same_trials_same_bytes(tmp_path, make_trials):
    trials = make_trials({"full": 1.0, "lora": 1.2}, n_patients=6)
    assert report(tmp_path, trials) == report(tmp_path, trials)

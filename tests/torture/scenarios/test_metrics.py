"""The metrics against scikit-learn, and that a wrong metric would be seen."""

import pytest

from medtune.tasks.classification import metrics, statistics


def test_metrics__agree_with_scikit_learn(small):
    outcome = small("metrics")
    assert outcome.lost == []
    assert outcome.injected == outcome.survived == 200
    assert 0 <= outcome.figures["greatest difference"] <= 1e-9


@pytest.mark.parametrize("name", ["auroc", "brier", "macro_f1"])
def test_metrics__wrong_one_is_seen(small, monkeypatch, name):
    real = metrics.compute_all

    def wrong(*case):
        found = real(*case)
        return found | {name: None if found[name] is None else found[name] + 2e-9}

    monkeypatch.setattr(metrics, "compute_all", wrong)
    outcome = small("metrics")
    assert len(outcome.lost) > 100
    assert f"{name} is" in outcome.lost[0]


def test_metrics__left_out_image_is_seen(small, monkeypatch):
    real = statistics.accumulate

    def short(*case, **kwargs):
        return real(*(part[: max(len(part) - 1, 1)] for part in case[:4]), *case[4:], **kwargs)

    monkeypatch.setattr(statistics, "accumulate", short)
    assert "images scored" in small("metrics").lost[0]

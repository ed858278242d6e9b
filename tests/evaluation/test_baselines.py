"""Baselines in reports: a baseline that is better than the model is named with its paired interval."""

import pytest

from medtune.evaluation.baselines import baseline_lines, baseline_section, verdict
from medtune.tasks import base

METRICS = base.metrics("classification")
AUROC = base.metric("classification", "auroc")


def entry(value, difference, lo, hi, name="mean_feature"):
    """Return a baseline whose headline metrics are equal."""
    names = [metric.name for metric in METRICS if metric.headline]
    test = {"value": value, "lo": value - 0.1, "hi": value + 0.05}
    gap = {"value": difference, "lo": lo, "hi": hi}
    title = f"logistic regression on the {name.replace('_', ' ')}"
    return {
        "name": name,
        "title": title,
        "test": dict.fromkeys(names, test),
        "fold_means": {key: {"mean": value + 0.013, "lowest": value, "highest": value + 0.02} for key in names},
        "difference": dict.fromkeys(names, gap),
    }


@pytest.mark.parametrize(
    ("baselines", "expected"),
    [
        ([entry(0.8, 0.02, -0.1, 0.1)], None),
        ([], None),
        ([entry(0.8, -0.02, -0.1, 0.1)], "model minus baseline -0.020 (-0.100 to +0.100), no significant difference"),
        ([entry(0.9, -0.08, -0.1, -0.01)], "model minus baseline -0.080 (-0.100 to -0.010), a significant difference"),
        (
            [entry(0.8, -0.02, -0.1, 0.1), entry(0.85, -0.07, -0.2, 0.1, "class_token")],
            "on the class token is better than this model: AUROC 0.850",
        ),
        ([entry(0.8, -0.02, None, None)], "model minus baseline -0.020, no interval of the difference"),
    ],
)
def test_verdict__names_the_best_baseline_only_if_it_is_better(baselines, expected):
    result = verdict(baselines, AUROC)
    assert (result is None) == (expected is None)
    assert expected is None or expected in result


def test_verdict__is_none_without_the_metric():
    assert verdict([entry(0.8, -0.02, -0.1, 0.1)], None) is None


def test_baseline_lines__show_every_headline_metric():
    (line,) = baseline_lines([entry(0.8, 0.02, -0.1, 0.1)], METRICS)
    assert line.startswith("logistic regression on the mean feature: ")
    assert "AUROC 0.800 (model minus baseline +0.020 (-0.100 to +0.100))" in line


def test_baseline_section__shows_the_verdict_and_is_empty_without_baselines():
    facts = {"percent": "95", "positive": "malignant", "baseline_verdict": "A <b> is better"}
    assert baseline_section([], METRICS, facts) == ""
    page = baseline_section([entry(0.8, -0.02, -0.1, 0.1)], METRICS, facts)
    assert "AUROC (positive: malignant)" in page
    assert "mean over folds 0.813" in page
    assert "A &lt;b&gt; is better" in page


def test_baseline_section__states_the_reason_without_an_interval():
    baseline = entry(0.8, -0.02, None, None)
    reason = "3 patients, but an interval needs 5"
    baseline["difference"] = {name: gap | {"reason": reason} for name, gap in baseline["difference"].items()}
    page = baseline_section([baseline], METRICS, {"percent": "95", "positive": "malignant"})
    assert f"no interval: {reason}" in page
    assert "0.700 to 0.850" in page

import pytest

from medtune.benchmark.report.comparison import compare_methods
from medtune.benchmark.report.metric_cube import build_cubes
from medtune.benchmark.report.recommendation import recommendations
from medtune.benchmark.report.records import TrialRecord
from medtune.benchmark.report.warnings import comparison_warnings


def compare(trials, metric="auroc", confidence=0.95):
    return compare_methods(build_cubes(trials, metric)[0], confidence)


def test_recommend__clear_winner(make_trials):
    trials = make_trials({"linear": 0.0, "full": 0.2, "lora": 3.0, "bitfit": 0.1}, seeds=(1, 2), n_patients=40)
    (line,) = recommendations(compare(trials))
    assert line.startswith(
        "toy, vit, 10 % (10 training patients, 40 test patients, 2 seeds): lora has the best mean AUROC"
    )
    assert "All 3 other methods are significantly worse." in line
    assert "Better than full" in line
    assert "1 of 2 PEFT methods. The largest gain: lora +" in line
    assert "same sign in 2 of 2 seeds" in line
    assert "not significantly worse" not in line


def test_recommend__no_significant_difference(make_trials):
    result = compare(make_trials({"full": 0.5, "lora": 0.5, "bitfit": 0.5, "linear": 0.5}, noise=0))
    (line,) = recommendations(result)
    assert (
        "No method is significantly worse (paired over 24 patients, Holm over 3). These results show no winner." in line
    )
    assert "None of 2 PEFT methods differs significantly from full" in line
    assert "linear" in line
    assert "these results show no benefit of adaptation" in line
    assert not any(paired.is_significant(result.alpha) for paired in result.against_best[0].values())


def test_recommend__cheapest_of_the_tied_methods(make_trials):
    trials = make_trials({"linear": 0.0, "full": 2.0, "lora": 2.01, "bitfit": 2.0}, n_patients=40, noise=0.05)
    (line,) = recommendations(compare(trials))
    assert "2 of 3 other methods are not significantly worse" in line
    assert "bitfit" in line.partition("has fewer")[0]
    assert "1 k trainable parameters" in line


def test_recommend__few_patients_exclude_no_method(make_trials):
    result = compare(make_trials({"linear": 0.0, "full": 0.1, "lora": 3.0}, n_patients=4))
    (line,) = recommendations(result)
    assert (
        "There are too few test patients for significance tests. These results show no winner and exclude no method."
        in line
    )
    message = " ".join(comparison_warnings(result))
    for text in ("There are no intervals and no tests (4 patients, but an interval needs 5).", "only one seed"):
        assert text in message


def test_warnings__few_patients_of_a_class(make_trials):
    message = " ".join(comparison_warnings(compare(make_trials({"full": 0.1, "lora": 3.0}, n_patients=6))))
    assert "Only 3 test patients with benign: intervals are wide and approximate." in message


def test_recommend__one_method(make_trials):
    (line,) = recommendations(compare(make_trials({"lora": 1.0})))
    assert "No other method has results" in line


def test_recommend__lower_is_better(make_trials):
    result = compare(make_trials({"linear": 0.1, "lora": 3.0, "full": 0.2}), "brier")
    assert result.cube.value[result.best[0], 0, 0] == result.cube.value.min()
    assert all(paired.difference >= 0 for paired in result.against_best[0].values())


def test_recommend__one_patient_has_no_test(make_trials):
    result = compare(make_trials({"lora": 1.0, "full": 0.5}, n_patients=1, images=9), "accuracy")
    (line,) = recommendations(result)
    assert "too few test patients" in line
    assert any("no intervals and no tests" in message for message in comparison_warnings(result))


def test_warnings__empty_without_problems(make_trials):
    assert comparison_warnings(compare(make_trials({"lora": 1.0, "full": 0.5}, seeds=(1, 2)))) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"protocol": "image"}, "splits images, not patients"),
        ({"patients_known": False}, "Intervals and tests are over images"),
        ({"lr": [0.003]}, "lowest or highest tried"),
        ({"device": "cuda"}, "Do not compare their times and memory"),
    ],
)
def test_warnings__name_the_problem(make_trials, change, text):
    trials = make_trials({"lora": 1.0, "full": 0.5}, seeds=(1, 2))
    for trial in trials[: None if "lr" in change or "patients_known" in change else 1]:
        trial.result.update(change)
    (message,) = comparison_warnings(compare(trials))
    assert text in message


def test_warnings__missing_trials(make_trials):
    trials = make_trials({"lora": 1.0, "full": 0.5, "bitfit": 0.2}, seeds=(1, 2))
    trials[0] = TrialRecord(trials[0].identity, None, None, "no")
    (gaps,) = comparison_warnings(compare(trials))
    assert gaps.startswith("1 of 6 trials")

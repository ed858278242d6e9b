from dataclasses import replace

import numpy as np
import pytest

from medtune.benchmark.report.metric_cube import build_cubes
from medtune.benchmark.report.predictions import read_predictions
from medtune.benchmark.report.records import TrialId, TrialRecord
from medtune.benchmark.report.summary import ranks, summarize
from medtune.config.errors import InputError
from medtune.evaluation.intervals import intervals
from medtune.tasks.classification.metrics import METRICS


def test_build_cubes__value_equals_the_record(make_trials):
    trials = make_trials({"linear": 0.3, "lora": 1.0}, percents=(100, 10), seeds=(2, 1))
    (block,) = build_cubes(trials, "auroc")
    assert (block.methods, block.percents, block.seeds) == (("linear", "lora"), (10, 100), (1, 2))
    assert block.left.shape == (2, 2, 2, 24)
    assert block.support == {"benign": 12, "malignant": 12}
    for trial in trials:
        cell = trial.identity
        index = block.methods.index(cell.method), block.percents.index(cell.percent), block.seeds.index(cell.seed)
        assert block.value[index] == pytest.approx(trial.result["metrics"]["auroc"]["value"], abs=1e-9)


def test_summary__interval_of_one_seed_equals_the_interval_of_the_trial(make_trials):
    trials = make_trials({"lora": 0.5})
    summary = summarize(build_cubes(trials, "balanced_accuracy")[0], 0.9)
    expected = intervals(METRICS, read_predictions(trials[0]).stats, 0.9)["balanced_accuracy"]
    assert [summary.mean[0, 0], summary.lo[0, 0], summary.hi[0, 0]] == [expected.value, expected.lo, expected.hi]
    assert np.isnan(summary.spread[0, 0])


def test_summary__mean_is_over_available_seeds(make_trials):
    trials = make_trials({"lora": 0.5, "bitfit": 0.2}, seeds=(1, 2))
    trials[1] = TrialRecord(trials[1].identity, None, None, "no")
    trials += [TrialRecord(TrialId("toy", "vit", "vera", 10, seed), None, None, None) for seed in (1, 2)]
    summary = summarize(build_cubes(trials, "auroc")[0], 0.9)
    assert summary.seeds[:, 0].tolist() == [1, 2, 0]
    assert summary.mean[0, 0] == pytest.approx(trials[0].result["metrics"]["auroc"]["value"])
    assert np.isnan([summary.mean[2, 0], summary.rank[2, 0], summary.mean_rank[2]]).all()
    assert summary.order[-1] == 2


@pytest.mark.parametrize(
    ("scores", "expected"), [([0.5, 0.9, 0.5, 0.1], [2.5, 1, 2.5, 4]), ([np.nan, 0.2, 0.2], [np.nan, 1.5, 1.5])]
)
def test_ranks__ties_share_their_mean(scores, expected):
    assert ranks(np.array(scores)) == pytest.approx(expected, nan_ok=True)


def test_summary__lower_brier_score_ranks_first(make_trials):
    summary = summarize(build_cubes(make_trials({"a": 0.1, "b": 3.0}), "brier")[0], 0.9)
    assert summary.order[0] == np.argmin(summary.mean[:, 0])


def test_build_cubes__trial_with_undefined_metric_is_skipped(make_trials):
    trials = make_trials({"lora": 0.5, "bitfit": 0.2})
    trials[0].result["metrics"]["auroc"] = {"value": None, "lo": None, "hi": None, "reason": "diverged"}
    (trials[0].folder / "predictions.csv").write_text("path\n")
    assert build_cubes(trials, "auroc")[0].is_available.ravel().tolist() == [False, True]


def test_build_cubes__different_test_images_are_an_error(make_trials):
    trials = make_trials({"lora": 0.5, "bitfit": 0.2})
    path = trials[1].folder / "predictions.csv"
    path.write_text(path.read_text().replace("p003", "p002"))
    with pytest.raises(InputError, match=r"bitfit.*lora.*different images"):
        build_cubes(trials, "auroc")


def test_build_cubes__unknown_metric(make_trials):
    with pytest.raises(InputError, match="did you mean 'auroc'"):
        build_cubes(make_trials({"lora": 0.5}), "auroq")


def test_read_predictions__corrupted_file(make_trials):
    (trial,) = make_trials({"lora": 0.5})
    (trial.folder / "predictions.csv").write_text("path,label,group,prediction,prob_benign\na,malignant,p,benign,1\n")
    with pytest.raises(InputError, match="toy vit lora 10 % seed 1"):
        read_predictions(trial)
    with pytest.raises(InputError, match=r"predictions\.csv"):
        read_predictions(replace(trial, folder=trial.folder / "none"))

import csv

import numpy as np
import pytest
from scipy.stats import t

from medtune.benchmark.report.metric_cube import build_cubes
from medtune.benchmark.report.paired import holm, paired_differences
from medtune.tasks.classification.metrics import compute_all

CLASSES = ("benign", "malignant")


def rows_of(trial):
    with (trial.folder / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    labels, predictions = (np.array([CLASSES.index(row[name]) for row in rows]) for name in ("label", "prediction"))
    probabilities = np.array([[float(row[f"prob_{name}"]) for name in CLASSES] for row in rows])
    return labels, probabilities, predictions, np.array([row["patient"] for row in rows])


@pytest.mark.parametrize("metric", ["auroc", "balanced_accuracy"])
def test_paired_differences__equal_a_manual_jackknife(make_trials, metric):
    trials = make_trials({"lora": 0.6, "full": 0.4}, seeds=(1, 2), n_patients=12, images=3)
    cases = {(trial.identity.method, trial.identity.seed): rows_of(trial) for trial in trials}
    labels, patients = cases["lora", 1][0], cases["lora", 1][3]

    def difference(rows):
        score = {key: compute_all(*(column[rows] for column in case))[metric] for key, case in cases.items()}
        return np.mean([score["lora", seed] - score["full", seed] for seed in (1, 2)])

    left = np.array([difference(patients != name) for name in np.unique(patients)])
    of_class = [left[[labels[patients == name][0] == k for name in np.unique(patients)]] for k in (0, 1)]
    variance = np.array([5 / 6 * ((values - values.mean()) ** 2).sum() for values in of_class])
    degrees = variance.sum() ** 2 / (variance**2 / 5).sum()
    (result,) = paired_differences(build_cubes(trials, metric)[0], 1, 0, 0.9).values()
    value = difference(np.full(36, True))
    width = t.ppf(0.95, degrees) * variance.sum() ** 0.5
    assert [result.difference, result.lo, result.hi] == pytest.approx([value, value - width, value + width], abs=1e-7)
    assert result.p == result.adjusted == pytest.approx(2 * t.sf(abs(value) / variance.sum() ** 0.5, degrees), abs=1e-6)
    assert result.detectable == pytest.approx(width + t.ppf(0.8, degrees) * variance.sum() ** 0.5)


def test_paired_differences__use_common_seeds(make_trials):
    trials = make_trials({"lora": 0.6, "full": 0.4}, seeds=(1, 2, 3))
    (block,) = build_cubes(trials[1:4] + trials[5:], "auroc")  # lora 2, 3 and full 1, 3
    (result,) = paired_differences(block, block.methods.index("full"), 0, 0.9).values()
    assert result.seeds == result.n_agreeing_seeds == 1
    assert result.difference == pytest.approx(block.value[0, 0, 2] - block.value[1, 0, 2])


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        # Manually: sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, then non-decreasing.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02, np.nan, 0.03], [0.04, np.nan, 0.04]),
        ([], []),
    ],
)
def test_holm__known_values(p, expected):
    assert holm(p) == pytest.approx(np.array(expected), nan_ok=True)

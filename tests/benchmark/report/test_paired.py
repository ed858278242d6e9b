import csv

import numpy as np
import pytest

from medtune.benchmark.report.metric_cube import build_cubes
from medtune.benchmark.report.paired import holm, p_value, paired_differences, smallest_corrected_p, smallest_p
from medtune.evaluation.bootstrap import resamples
from medtune.tasks.classification.metrics import compute_all

CLASSES = ("benign", "malignant")


def rows_of(cell):
    with (cell.folder / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    labels, predictions = (np.array([CLASSES.index(row[name]) for row in rows]) for name in ("label", "prediction"))
    probabilities = np.array([[float(row[f"prob_{name}"]) for name in CLASSES] for row in rows])
    return labels, probabilities, predictions, np.array([row["group"] for row in rows])


def score(case, rows, metric):
    if len(np.unique(case[0][rows])) < 2:  # a resample that lost a class does not count
        return np.nan
    return compute_all(*(column[rows] for column in case))[metric]


@pytest.mark.parametrize("metric", ["auroc", "balanced_accuracy"])
def test_compare__equals_drawing_patients_by_hand(make_cells, metric):
    cells = make_cells({"lora": 0.6, "full": 0.4}, seeds=(1, 2), groups=7, images=3)
    cases = {(cell.identity.method, cell.identity.seed): rows_of(cell) for cell in cells}
    names = np.unique(cases["lora", 1][3])
    drawn = []
    for weights in np.concatenate(list(resamples(len(names), 150, seed=4))).astype(int):
        rows = np.concatenate(
            [np.flatnonzero(cases["lora", 1][3] == g) for g, w in zip(names, weights, strict=True) for _ in range(w)]
        )
        by_seed = [score(cases["lora", s], rows, metric) - score(cases["full", s], rows, metric) for s in (1, 2)]
        drawn.append(np.mean(by_seed))
    kept = np.array(drawn)[~np.isnan(drawn)]
    (found,) = paired_differences(build_cubes(cells, metric, 150, 4)[0], 1, 0, 0.9).values()
    whole = np.arange(21)
    expected = np.mean(
        [score(cases["lora", s], whole, metric) - score(cases["full", s], whole, metric) for s in (1, 2)]
    )
    assert found.difference == pytest.approx(expected, abs=1e-9)
    assert [found.lo, found.hi] == pytest.approx(list(np.quantile(kept, [0.05, 0.95])), abs=1e-9)
    rarer = min((kept <= 1e-12).sum(), (kept >= -1e-12).sum())
    assert found.p == found.adjusted == pytest.approx(max(min(1, 2 * (rarer + 1) / (len(kept) + 1)), 2 / 2**7))


def test_compare__seeds_that_both_have(make_cells):
    cells = make_cells({"lora": 0.6, "full": 0.4}, seeds=(1, 2, 3))
    (block,) = build_cubes(cells[1:4] + cells[5:], "auroc", 20, 0)  # lora 2, 3 and full 1, 3
    (found,) = paired_differences(block, block.methods.index("full"), 0, 0.9).values()
    assert found.seeds == found.n_agreeing_seeds == 1
    assert found.difference == pytest.approx(block.value[0, 0, 2] - block.value[1, 0, 2])


def test_p_value__counts_the_rarer_side():
    drawn = np.array([0.2] * 95 + [-0.1] * 3 + [np.nan] * 5 + [0.0])
    assert p_value(drawn, 50) == pytest.approx(2 * (4 + 1) / (99 + 1))
    assert p_value(-drawn, 50) == p_value(drawn, 50)


def test_p_value__no_difference_is_one():
    assert p_value(np.full(100, 1e-17), 50) == 1


def test_p_value__few_patients_are_not_certain():
    assert p_value(np.full(1999, 0.3), 50) == pytest.approx(0.001)
    assert p_value(np.full(1999, 0.3), 5) == 0.0625  # all five agree: 2 of 32 signs


def test_p_value__same_method_twice_is_rarely_different():
    draw, found = np.random.default_rng(0), []
    for _ in range(300):
        differences = draw.normal(0, 1, 30)
        weights = np.concatenate(list(resamples(30, 400, int(draw.integers(1_000_000)))))
        found.append(p_value(weights @ differences / 30, 30))
    assert 0.02 <= np.mean(np.array(found) < 0.05) <= 0.11


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        # By hand: sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, then never falling.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02, np.nan, 0.03], [0.04, np.nan, 0.04]),
        ([], []),
    ],
)
def test_holm__known_values(p, expected):
    assert holm(p) == pytest.approx(np.array(expected), nan_ok=True)


def test_reachable__grows_with_the_comparisons(make_cells):
    (block,) = build_cubes(make_cells({"lora": 0.5}, groups=8), "auroc", 999, 0)
    assert smallest_p(8, 999) == 2 / 2**8
    assert smallest_p(20, 999) == 0.002
    assert smallest_corrected_p(block, 10) == 20 / 2**8
    assert smallest_corrected_p(block, 1000) == 1

"""Statistics per patient, compared with averages over volumes."""

import math

import numpy as np
import pytest

from medtune.tasks.segmentation.case_metrics import case_metrics
from medtune.tasks.segmentation.statistics import QUANTITIES, accumulate, patients_of_all, patients_with

LABELS = {"organ": 1, "lesion": 2}


def random_cases(n, seed):
    """Return metrics of random volumes; every third volume has no lesion, and every fourth prediction."""
    draw = np.random.default_rng(seed)
    cases = []
    for index in range(n):
        truth, prediction = draw.choice(3, (2, 4, 4, 4), p=(0.6, 0.3, 0.1))
        truth[truth == 2] = 0 if index % 3 == 0 else 2
        prediction[prediction == 2] = 0 if index % 4 == 0 else 2
        cases.append(case_metrics(truth, prediction, (1, 2, 3), LABELS))
    return cases


def mean(values):
    """Return the mean of the defined values, NaN without any."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_weighted__equals_the_mean_over_repeated_volumes(quantity):
    cases, patients = random_cases(14, seed=1), np.arange(14) // 3
    stats = accumulate(cases, patients)
    weights = np.array([[1, 1, 1, 1, 1], [2, 0, 1, 3, 0]])
    result = stats.weighted(weights.astype(float)).mean(quantity)
    for row, times in zip(result, weights[:, patients], strict=True):
        for label, value in enumerate(row):
            repeated = [
                QUANTITIES[quantity](case[label]) for case, n in zip(cases, times, strict=True) for _ in range(n)
            ]
            assert value == pytest.approx(mean(repeated))


def test_accumulate__counts_outcomes_and_volumes():
    stats = accumulate(random_cases(13, seed=2), np.array(["b", "a"] * 6 + ["b"]))
    assert stats.labels == tuple(LABELS)
    assert (stats.n_patients, stats.volumes.tolist(), stats.width) == (2, [6, 7], 26)
    lesion = {name: values.sum(axis=0)[1] for name, values in stats.outcomes.items()}
    assert lesion == {"both": 6, "both empty": 2, "missed": 2, "spurious": 3}
    assert stats.counts["hd95"].sum(axis=0).tolist() == [13, 11]
    assert stats.counts["dice"].sum(axis=0).tolist() == [13, 13]
    assert stats.counts["sensitivity"].sum(axis=0).tolist() == [13, 8]
    assert stats.counts["precision"].sum(axis=0).tolist() == [13, 9]
    assert stats.counts["volume_error_percent"].sum(axis=0).tolist() == [13, 8]


def test_macro__excludes_labels_without_truth():
    empty = np.zeros((3, 3, 3), np.uint8)
    organ = empty.copy()
    organ[1] = 1
    lesion = np.where(organ, 1, 2)
    stats = accumulate([case_metrics(organ, other, (1, 1, 1), LABELS) for other in (organ, lesion)], np.arange(2))
    assert stats.scored.tolist() == [True, False]
    weighted = stats.weighted(np.array([[1.0, 1], [0, 1]]))
    for quantity in ("dice", "nsd", "hd95", "precision"):
        np.testing.assert_array_equal(weighted.macro(quantity), weighted.mean(quantity)[:, 0])
    assert weighted.mean("dice")[:, 1].tolist() == [0.5, 0]
    nothing = accumulate([case_metrics(empty, organ, (1, 1, 1), LABELS)], np.arange(1))
    assert np.isnan(nothing.weighted(np.ones((1, 1))).macro("dice")).all()


def test_macro__undefined_if_a_weighting_removes_a_label():
    stats = accumulate(random_cases(4, seed=3), np.arange(4))
    weighted = stats.weighted(np.array([[1.0, 1, 1, 1], [1, 0, 0, 0]]))  # the first volume has no lesion in both masks
    assert np.isnan(weighted.macro("hd95")).tolist() == [False, True]
    assert np.isnan(weighted.macro("dice")).tolist() == [False, False]


def test_mean__volume_errors_of_opposite_sign_do_not_cancel():
    small, large = np.zeros((2, 5, 5, 5), np.uint8)
    small[:2], large[:4] = 1, 1
    cases = [case_metrics(*masks, (10, 10, 10), {"organ": 1}) for masks in ((small, large), (large, small))]
    weighted = accumulate(cases, np.arange(2)).weighted(np.ones((1, 2)))
    assert weighted.mean("volume_error")[0, 0] == pytest.approx(50)
    assert weighted.mean("volume_error_percent")[0, 0] == pytest.approx(75)


def test_patients__with_a_defined_quantity():
    stats = accumulate(random_cases(13, seed=4), np.arange(13))
    assert [patients_with("hd95", label)(stats) for label in range(2)] == [13, 11]
    assert patients_of_all("sensitivity")(stats) == 13
    single = accumulate(random_cases(1, seed=4), np.arange(1))
    assert patients_of_all("hd95")(single) == 1


@pytest.mark.parametrize(
    ("cases", "patients", "message"),
    [
        ([], [], "no volumes"),
        (random_cases(2, seed=0), [1], "2 volumes, but 1 patient ids"),
        ([random_cases(1, seed=0)[0], random_cases(1, seed=0)[0][::-1]], [1, 2], "different labels"),
    ],
)
def test_accumulate__invalid_input(cases, patients, message):
    with pytest.raises(ValueError, match=message):
        accumulate(cases, np.array(patients))

import numpy as np
import pytest
from scipy import stats as reference

from medtune.evaluation.intervals import paired_interval
from medtune.evaluation.jackknife import jackknife
from medtune.evaluation.significance import detectable_difference, p_value
from medtune.tasks.classification.metrics import METRICS
from medtune.tasks.classification.statistics import accumulate

ACCURACY = next(metric for metric in METRICS if metric.name == "accuracy")
SENSITIVITY = next(metric for metric in METRICS if metric.name == "sensitivity")


def make_pair(images=40, rates=(0.3, 0.6)):
    draw = np.random.default_rng(8)
    labels = np.zeros(images, np.int64)
    wrong = [draw.random(images) < rate for rate in rates]
    return wrong, [accumulate(labels, np.eye(2)[w.astype(int)], w.astype(int), np.arange(images)) for w in wrong]


def test_p_value__is_students_for_one_image_per_patient():
    wrong, sets = make_pair()
    expected = reference.ttest_rel((~wrong[0]).astype(float), (~wrong[1]).astype(float))
    design = jackknife(sets[0])
    left = [design.leave_out([ACCURACY], stats)["accuracy"] for stats in sets]
    value = float(wrong[1].mean() - wrong[0].mean())
    assert p_value(ACCURACY, value, left[0] - left[1], design, 40) == pytest.approx(expected.pvalue)


def test_p_value__is_nan_without_an_interval():
    _, sets = make_pair()
    design = jackknife(sets[0])
    assert np.isnan(p_value(SENSITIVITY, 0.1, np.linspace(0, 1, 40), design, 3))
    assert detectable_difference(SENSITIVITY, *sets) is None


def test_detectable_difference__is_wider_than_the_interval():
    _, sets = make_pair()
    interval = paired_interval([ACCURACY], *sets)["accuracy"]
    result = detectable_difference(ACCURACY, *sets)
    assert (interval.hi - interval.lo) / 2 < result < interval.hi - interval.lo

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from medtune.evaluation.intervals import MIN_PATIENTS, intervals
from medtune.evaluation.metric import UNBOUNDED
from medtune.evaluation.subgroups import NO_IMAGES, compare
from medtune.tasks.classification.evaluation import CLASS_AVERAGES
from medtune.tasks.classification.folds import ClassifierPredictions
from medtune.tasks.classification.metrics import METRICS, compute_all

OPTIONS = SimpleNamespace(confidence=0.9)
CLASSES = ("no", "yes")


def make_predictions(n=240, patients=24, seed=0, n_classes=2, labels=None, quality=1.0):
    """Return predictions for n images, with `quality` (n,) as the class separation of each image."""
    draw = np.random.default_rng(seed)
    patient = draw.integers(0, patients, n)
    labels = draw.integers(0, n_classes, n) if labels is None else labels
    scores = draw.normal(0, 1, (n, n_classes)) + (np.eye(n_classes)[labels] * np.asarray(quality).reshape(-1, 1))
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    ids = np.array([f"P{k:02}" for k in patient])
    return ClassifierPredictions(np.arange(n), labels, ids, probabilities, probabilities, probabilities.argmax(axis=1))


def run(images, values, order=None, options=OPTIONS, classes=CLASSES):
    values = np.asarray(values)
    order = order or sorted(set(values.tolist()))
    return compare("site", values, order, images, METRICS, options, classes, CLASS_AVERAGES)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("split_patients", [False, True])
def test_compare__equals_brute_force(n_classes, split_patients):
    images = make_predictions(n_classes=n_classes, quality=1.5)
    draw = np.random.default_rng(1)
    names = np.unique(images.patient_ids)
    site = dict(zip(names.tolist(), draw.choice(["A", "B", "C"], len(names)).tolist(), strict=True))
    values = np.array([site[name] for name in images.patient_ids.tolist()])
    if split_patients:  # images of one patient from two scanners
        values = draw.choice(["A", "B", "C"], len(values))
    classes = tuple("abc"[:n_classes])
    result = run(images, values, classes=classes)

    for subgroup in result.subgroups:  # compare with an evaluation of the subgroup alone
        alone = images.select(np.flatnonzero(values == subgroup.value))
        assert subgroup.n_images == (values == subgroup.value).sum()
        assert subgroup.n_patients == len(np.unique(alone.patient_ids))
        assert subgroup.metrics == intervals(METRICS, alone.stats(OPTIONS), 0.9)
        assert subgroup.support == {
            name: len(np.unique(alone.patient_ids[alone.labels == k])) for k, name in enumerate(classes)
        }

    def metrics_without(name):
        result = {}
        for value in "ABC":
            rows = (values == value) & (images.patient_ids != name)
            args = images.labels[rows], images.probabilities[rows], images.predictions[rows], images.patient_ids[rows]
            result[value] = compute_all(*args)
        return result

    point, left = metrics_without(None), [metrics_without(name) for name in names]
    # The stratum of a patient combines its subgroups and its class, if it has a single class.
    strata = [
        (
            tuple((values[images.patient_ids == name] == value).any() for value in "ABC"),
            tuple(np.unique(images.labels[images.patient_ids == name])[:n_classes]),
        )
        for name in names
    ]
    assert len(result.gaps) == 3 * len(result.subgroups[0].metrics)
    for gap in result.gaps:
        difference = point[gap.first][gap.metric] - point[gap.second][gap.metric]
        assert gap.difference.value == pytest.approx(difference, abs=1e-9)
        if gap.difference.lo is None:
            continue
        without = np.array([metrics[gap.first][gap.metric] - metrics[gap.second][gap.metric] for metrics in left])
        variance = 0.0
        for stratum in set(strata):
            members = without[[other == stratum for other in strata]]
            variance += (len(members) - 1) / len(members) * ((members - members.mean()) ** 2).sum()
        half = (gap.difference.hi - gap.difference.lo) / 2
        if min(strata.count(stratum) for stratum in strata) > 1:  # otherwise strata are merged
            assert 1.6 * variance**0.5 < half  # Student's t at 90 %
        assert gap.difference.lo < gap.difference.value < gap.difference.hi
        assert gap.n_pairs == 3
        assert gap.ends[0] < gap.difference.lo
        assert gap.ends[1] > gap.difference.hi


def test_compare__equal_images_in_both_subgroups_have_no_gap():
    images = make_predictions(120, 12)
    twice = images.select(np.r_[np.arange(120), np.arange(120)])
    result = run(twice, np.repeat(["left", "right"], 120))
    without_ends = {
        metric.name for metric in METRICS if metric.no_interval or metric.bounds == UNBOUNDED or metric.min_patients > 9
    }
    for gap in result.gaps:
        assert gap.difference.value == 0, gap.metric
        if gap.difference.lo is None:
            assert gap.metric in without_ends
        else:
            assert gap.difference.lo == -gap.difference.hi < 0, gap.metric


def test_compare__two_subgroups_need_no_simultaneous_interval():
    images = make_predictions()
    result = run(images, np.where(images.patient_ids < "P12", "A", "B"))
    assert {gap.simultaneous for gap in result.gaps} == {None}
    gap = result.largest()["auroc"]
    assert gap.ends == (gap.difference.lo, gap.difference.hi)
    assert "simultaneous" not in gap.as_dict()


def test_compare__largest_gap_is_the_simulated_one():
    images = make_predictions(quality=np.ones(240))
    values = np.array([("A", "B", "C")[int(name[1:]) % 3] for name in images.patient_ids.tolist()])
    quality = np.where(values == "B", -1.0, np.where(values == "A", 4.0, 2.0))
    result = run(make_predictions(quality=quality), values)
    gap = result.largest()["balanced_accuracy"]
    assert (gap.first, gap.second) == ("A", "B")
    assert gap.difference.lo > 0.3
    assert abs(gap.difference.value) == max(
        abs(other.difference.value) for other in result.gaps if other.metric == "balanced_accuracy"
    )


def test_compare__one_class_only():
    labels = np.random.default_rng(5).integers(0, 2, 240)
    images = make_predictions(labels=labels)
    values = np.where(labels == 1, "positive site", "mixed site")
    values[:120] = "mixed site"
    result = run(images, values, order=["mixed site", "positive site"])
    metrics = result.subgroups[1].metrics
    assert metrics["auroc"].value is None
    assert "undefined" in metrics["auroc"].reason
    assert metrics["specificity"].value is None
    assert metrics["accuracy"].lo is not None
    assert metrics["sensitivity"].lo is not None
    assert result.subgroups[1].support["no"] == 0
    assert result.subgroups[1].notes == ("no image has the class no, so averages over classes exclude it",)
    gaps = {gap.metric: gap.difference for gap in result.gaps}
    # the mean of a single recall is not a balanced accuracy
    assert metrics["balanced_accuracy"].value is not None
    assert gaps["balanced_accuracy"].as_dict() == {
        "value": None, "lo": None, "hi": None,
        "reason": "the averages are over different classes, so they are not comparable",
    }  # fmt: skip
    assert gaps["specificity"].value is None
    assert gaps["accuracy"].lo is not None
    assert gaps["sensitivity"].lo is not None
    assert (
        set(result.largest())
        == {name for name, difference in gaps.items() if difference.value is not None}
        != set(gaps)
    )


@pytest.mark.parametrize(
    ("patients", "reason"), [(1, "1 patient, but an interval needs 5"), (4, "4 patients, but an interval needs 5")]
)
def test_compare__too_few_patients_have_values_without_intervals(patients, reason):
    images = make_predictions()
    values = np.where(np.isin(images.patient_ids, np.unique(images.patient_ids)[:patients]), "few", "many")
    result = run(images, values)
    accuracy = result.subgroups[0].metrics["accuracy"]
    assert accuracy.value == pytest.approx(images.select(np.flatnonzero(values == "few")).correct.mean())
    assert (accuracy.lo, accuracy.hi) == (None, None)
    assert reason in accuracy.reason
    gap = result.largest()["accuracy"]
    assert gap.difference.value is not None
    assert gap.ends is None
    assert "an interval needs 5" in gap.difference.reason
    assert result.subgroups[1].metrics["accuracy"].lo is not None


def test_compare__prefers_a_gap_with_an_interval():
    images = make_predictions()
    values = np.array(["A" if name < "P12" else "B" for name in images.patient_ids.tolist()])
    values[images.patient_ids == "P00"] = "C"
    wrong = np.where(images.patient_ids == "P00", 1 - images.labels, images.predictions)
    result = run(ClassifierPredictions(**(vars(images) | {"predictions": wrong})), values)
    assert result.subgroups[2].metrics["accuracy"].value == 0
    gap = result.largest()["accuracy"]
    assert {gap.first, gap.second} == {"A", "B"}
    assert gap.ends is not None


def test_compare__subgroup_without_test_images_is_reported():
    images = make_predictions()
    result = run(images, np.where(images.patient_ids < "P12", "A", "B"), order=["A", "B", "C"])
    absent = result.subgroups[2]
    assert (absent.n_images, absent.n_patients, absent.notes) == (0, 0, (NO_IMAGES,))
    assert absent.metrics.keys() == result.subgroups[0].metrics.keys()
    assert {metric.reason for metric in absent.metrics.values()} == {NO_IMAGES}
    assert "C" not in {name for gap in result.gaps for name in (gap.first, gap.second)}


def test_compare__one_subgroup_has_no_gap():
    result = run(make_predictions(), ["A"] * 240)
    assert (len(result.subgroups), result.gaps, result.largest()) == (1, (), {})


def test_compare__statistics_that_merge_patients_are_an_error():
    @dataclass
    class Merged:
        images: ClassifierPredictions

        patient_ids = property(lambda self: self.images.patient_ids)

        def select(self, positions):
            return Merged(self.images.select(positions))

        def stats(self, options):
            ids = np.where(self.patient_ids == "P01", "P00", self.patient_ids)
            return ClassifierPredictions(**(vars(self.images) | {"patient_ids": ids})).stats(options)

    with pytest.raises(ValueError, match="A: statistics of 11 patients, expected 12"):
        run(Merged(images := make_predictions()), np.where(images.patient_ids < "P12", "A", "B"))


def test_class_averages__are_the_metrics_that_change_without_a_class():
    """Averages over classes: removing a class by weight or by selection gives different values."""
    images = make_predictions(120, 12, labels=np.repeat([0, 1, 2], 40), n_classes=3, quality=2.0)
    ids = np.array([f"P{k // 10:02}" for k in range(120)])
    images = ClassifierPredictions(**(vars(images) | {"patient_ids": ids}))
    from medtune.evaluation.metric import compute

    weights = np.r_[np.ones(8), np.zeros(4)][None]
    weighted = compute(METRICS, images.stats(OPTIONS), weights)
    selected = compute(METRICS, images.select(np.arange(80)).stats(OPTIONS))
    result = {name for name in weighted if np.isnan(weighted[name][0]) and not np.isnan(selected[name][0])}
    assert result <= set(CLASS_AVERAGES)
    assert {"auroc", "balanced_accuracy", "macro_f1", "paper_f1"} <= result
    assert set(CLASS_AVERAGES) <= {metric.name for metric in METRICS}


def test_min_patients__equals_the_number_in_the_reason():
    assert MIN_PATIENTS == 5

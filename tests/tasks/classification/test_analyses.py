"""Patient predictions, prediction sets and label error candidates of an evaluation."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from medtune.config.schema import EvaluateParams
from medtune.evaluation.result import EvaluationResult
from medtune.tasks.classification import patient_level
from medtune.tasks.classification.analyses import ANALYSES, Analyses
from medtune.tasks.classification.folds import ClassifierFold, ClassifierPredictions, Rules, pool
from medtune.tasks.classification.prediction_sets import predict_sets

OPTIONS = EvaluateParams()


def make_result(n_patients=40, n_folds=4, classes=2, known=True, several=False, seed=0) -> EvaluationResult:
    """Create folds in which network k tests the patients of fold k and network k - 1 validates on them."""
    rng = np.random.default_rng(seed)
    images = rng.integers(2, 7, n_patients)
    patients = np.repeat(np.arange(n_patients), images)
    labels = patients % classes if not several else rng.integers(0, classes, len(patients))
    scores = rng.normal(size=(len(labels), classes)) + rng.normal(size=(n_patients, classes))[patients]
    scores += 3 * np.eye(classes)[labels]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    ids = np.array([f"P{k:02}" for k in patients])

    def select(mask: np.ndarray) -> ClassifierPredictions:
        rows = np.flatnonzero(mask)
        p = probabilities[rows]
        return ClassifierPredictions(rows, labels[rows], ids[rows], p, p, p.argmax(axis=1))

    fold_of = patients // classes % n_folds
    rule = {"kind": "threshold", "positive": "b", "threshold": 0.5} if classes == 2 else {"kind": "argmax"}
    folds = [
        ClassifierFold(
            k, "frozen", Rules(SimpleNamespace(), rule), select(fold_of == (k + 1) % n_folds), select(fold_of == k)
        )
        for k in range(n_folds)
    ]
    prepared = SimpleNamespace(
        info={"patients_known": known, "protocol": "patient"},
        classes=tuple("abcdef"[:classes]),
        labels=labels,
        patient_ids=ids,
        positive="b" if classes == 2 else None,
        paths=[f"{k}.png" for k in range(len(ids))],
        images=rng.integers(0, 255, (len(ids), 8, 8, 3)).astype(np.uint8),
    )
    return EvaluationResult(prepared, (), (), folds, pool([fold.test for fold in folds]), {})


def facts_of(result: EvaluationResult, **options):
    params = OPTIONS.model_copy(update=options)
    return Analyses.compute(result, params).facts(result, params)


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("classes", [2, 3])
def test_analyses__facts_files_and_sections(classes, tmp_path):
    result = make_result(classes=classes)
    analyses = Analyses.compute(result, OPTIONS)
    facts = analyses.facts(result, OPTIONS)
    assert tuple(facts) == ANALYSES
    assert facts["patient_level"]["n_patients"] == 40
    assert facts["patient_level"]["metrics"]["balanced_accuracy"]["value"] > 0.8
    (tmp_path / "plots").mkdir()
    (tmp_path / "images").mkdir()
    assert [path.name for path in analyses.write(tmp_path, result)] == ["decision_curve.png"] * (classes == 2)
    rows = read(tmp_path / "patients.csv")
    assert len({row["patient"] for row in rows}) == len(rows) == 40
    assert sum(int(row["images"]) for row in rows) == len(result.pooled.rows)
    assert len(read(tmp_path / "label_errors.csv")) == facts["label_errors"]["candidates"]
    common = {"positive": None, "classes": ["a", "b"], "folds": [1], "percent": "95", "patients_known": True}
    page = analyses.section(result, facts | common)
    for text in (
        "metric per patient",
        "coverage (requested: 0.9)",
        "Nothing is corrected automatically",
        "would halve the confidence interval",
    ):
        assert text in page


def test_patient_level__mean_uses_rule_for_images():
    result = make_result()
    level = patient_level.patient_level(result, OPTIONS)
    for position, patient in enumerate(level.predictions.patient_ids):
        selected = result.pooled.patient_ids == patient
        mean = result.pooled.probabilities[selected, 1].mean()
        assert level.predictions.probabilities[position, 1] == pytest.approx(mean)
        assert level.predictions.predictions[position] == (mean >= 0.5)
        assert result.pooled.patient_ids[level.predictions.rows[position]] == patient


@pytest.mark.parametrize("rule", ["max", "noisy_or"])
def test_patient_level__other_scores_choose_threshold_on_validation_patients(rule):
    result = make_result()
    facts = facts_of(result, patient_score=rule)["patient_level"]
    assert facts["decision"]["kind"] == "threshold"
    # Changed labels of a fold's test patients must not change the decisions about these patients.
    options = OPTIONS.model_copy(update={"patient_score": rule})
    before = patient_level.patient_level(result, options).predictions
    tested = result.folds[0].test
    for fold in result.folds:
        for part in (fold.val, fold.test):
            part.labels[np.isin(part.patient_ids, tested.patient_ids)] ^= 1
    after = patient_level.patient_level(result, options).predictions
    selected = np.isin(before.patient_ids, tested.patient_ids)
    np.testing.assert_array_equal(before.predictions[selected], after.predictions[selected])


def test_patient_level__missing_with_reason():
    assert "no patient ids" in facts_of(make_result(known=False))["patient_level"]["reason"]
    assert "more than one class" in facts_of(make_result(several=True))["patient_level"]["reason"]
    assert "needs two classes" in facts_of(make_result(classes=3), patient_score="max")["patient_level"]["reason"]


def test_prediction_sets__coverage_and_size():
    sets = facts_of(make_result(200, 5))["prediction_sets"]
    assert sets["calibration"]["holds_for"] == "each class"
    assert 0.8 < sets["coverage"]["value"] < 1
    assert sets["coverage"]["lo"] < sets["coverage"]["value"] < sets["coverage"]["hi"]
    assert sets["n_certain"] + sets["n_several"] + sets["n_empty"] + sets["n_other"] == len(
        make_result(200, 5).pooled.rows
    )
    assert set(sets["coverage_by_class"]) == {"a", "b"}


def test_prediction_sets__test_labels_of_a_fold_do_not_change_its_sets():
    result = make_result()
    before = predict_sets(result, OPTIONS)
    tested = result.folds[0].test
    for fold in result.folds:
        for part in (fold.val, fold.test):
            part.labels[np.isin(part.patient_ids, tested.patient_ids)] ^= 1
    after = predict_sets(result, OPTIONS)
    np.testing.assert_array_equal(before[: len(tested.rows)], after[: len(tested.rows)])
    assert (before != after).any()


def test_prediction_sets__too_few_patients():
    facts = facts_of(make_result(8, 2))["prediction_sets"]
    assert "at least 9 patients; there are 8" in facts["reason"]
    facts = facts_of(make_result(11, 3, seed=1))["prediction_sets"]
    assert facts["reason"].startswith("fold 0, without its test patients")
    assert "min_probability" in facts["calibration"]


def test_doubtful_labels__every_image_once(tmp_path):
    result = make_result()
    doubtful = Analyses.compute(result, OPTIONS).doubtful
    assert doubtful.n_images == len(result.prepared.labels)
    assert len(np.unique(doubtful.rows)) == len(doubtful.rows)
    assert (doubtful.suggested != doubtful.labels).all()


def test_projection__patients_per_class():
    facts = facts_of(make_result())["more_patients"]
    assert {row["patients"] for row in facts["classes"]} == {20}
    assert all(50 < row["more_patients"] <= 60 for row in facts["classes"])
    assert sum(row["share_of_variance"] for row in facts["classes"]) == pytest.approx(1)
    assert {text.split("interval of its ")[1].split(".")[0] for text in facts["sentences"]} == {
        "sensitivity", "specificity",
    }  # fmt: skip


def test_projection__too_few_patients_of_a_class():
    result = make_result(5, 2)
    for fold in result.folds:
        fold.test.labels[:] = 1
    facts = facts_of(EvaluationResult(result.prepared, (), (), result.folds, pool([f.test for f in result.folds]), {}))
    absent, present = facts["more_patients"]["classes"]
    assert (absent["patients"], absent["reason"]) == (0, "a confidence interval needs more patients")
    assert present["patients"] == 5

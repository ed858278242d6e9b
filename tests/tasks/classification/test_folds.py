from types import SimpleNamespace

import numpy as np
import pytest

from medtune.config.schema import EvaluateParams
from medtune.tasks.classification import folds
from medtune.tasks.classification.calibration import fit_temperature, softmax
from medtune.tasks.classification.folds import ClassifierFold, ClassifierPredictions, Rules
from medtune.tasks.classification.warnings import evaluation_warnings


def make_scored(labels, positive, patients=None, rows=None) -> ClassifierPredictions:
    labels, positive = np.asarray(labels), np.asarray(positive, dtype=float)
    both = np.stack([1 - positive, positive], axis=1)
    patients = np.arange(len(labels)).astype(str) if patients is None else np.asarray(patients)
    rows = np.arange(len(labels)) if rows is None else np.asarray(rows)
    return ClassifierPredictions(rows, labels, patients, both, both, (positive >= 0.5).astype(np.int64))


def make_fold(fold=0, val=((0, 1), (0.2, 0.8)), test=((0, 1), (0.2, 0.8)), nll=0.5, at_bound=False, reason=None):
    calibration = SimpleNamespace(nll_after=nll, at_bound=at_bound, temperature=0.1, images=2)
    decision = {"kind": "threshold", **({"reason": reason} if reason else {})}
    return ClassifierFold(fold, "frozen", Rules(calibration, decision), make_scored(*val), make_scored(*test))


def make_prepared(protocol="patient", leaked=(), n=12):
    info = {"protocol": protocol, "leaked_patients": list(leaked), "n_patients": n, "patients_known": True}
    return SimpleNamespace(info=info, classes=("benign", "malignant"), patient_ids=np.arange(n))


def test_evaluate_folds__independent_of_test_labels():
    draw = np.random.default_rng(0)
    rows = {"val": np.arange(30), "test": np.arange(30, 60)}
    logits = {split: draw.normal(size=(30, 2)).astype("f4") for split in rows}
    trained = SimpleNamespace(result=lambda: {"kept": "finetune"})
    labels, result = draw.integers(0, 2, 60), []
    for flip in (0, 1):
        changed = np.where(np.arange(60) < 30, labels, labels ^ flip)
        prepared = SimpleNamespace(info={}, labels=changed, patient_ids=np.arange(60) // 3, classes=("a", "b"))
        requests = SimpleNamespace(fold=1, indices=rows, trained=trained)
        result += folds.evaluate_folds([requests], [logits], prepared, EvaluateParams())
    assert result[0].rules.calibration == result[1].rules.calibration
    assert result[0].rules.decision == result[1].rules.decision
    assert (result[0].test.predictions == result[1].test.predictions).all()
    assert result[0].selected_stage == "finetune"


def test_evaluate_folds__independent_of_other_labels_of_test_patients():
    """Patients who are in the validation set of the fold after their test fold."""
    draw = np.random.default_rng(0)
    patients, part = np.arange(90) // 3, np.arange(90) // 3 % 3
    labels = draw.integers(0, 2, 30)[patients]
    logits = (draw.normal(size=(90, 2)) + np.stack([-labels, labels + 1], 1)).astype("f4")
    trained = SimpleNamespace(result=lambda: {"kept": "finetune"})
    rows = [{"test": np.flatnonzero(part == k), "val": np.flatnonzero(part == (k - 1) % 3)} for k in range(3)]
    requests = [SimpleNamespace(fold=k, indices=rows[k], trained=trained) for k in range(3)]
    outputs = [{split: logits[index] for split, index in by_split.items()} for by_split in rows]
    options, result = EvaluateParams(threshold={"specificity": 0.7}), []
    for flip in (False, True):
        changed = np.where(flip & (part == 1), 1 - labels, labels)
        prepared = SimpleNamespace(info={}, labels=changed, patient_ids=patients, classes=("a", "b"))
        result.append(folds.evaluate_folds(requests, outputs, prepared, options))
    before, after = result
    assert before[1].record() == after[1].record()
    assert (before[1].test.probabilities == after[1].test.probabilities).all()
    assert before[0].rules.decision != after[0].rules.decision
    assert before[0].rules.calibration.temperature != after[0].rules.calibration.temperature
    assert before[1].rules.decision["images"] == before[1].rules.calibration.images == 60


def test_fit_rules__use_all_validation_images():
    draw = np.random.default_rng(1)
    patients, labels = np.arange(60) // 3, draw.integers(0, 2, 20)[np.arange(60) // 3]
    logits = draw.normal(size=(60, 2)) + 2 * np.eye(2)[labels]
    part, prepared = patients % 3, SimpleNamespace(info={}, labels=labels, patient_ids=patients, classes=("a", "b"))
    rows = [np.flatnonzero(part == k) for k in range(3)]
    requests = [SimpleNamespace(fold=k, indices={"val": index}) for k, index in enumerate(rows)]
    rules = folds.fit_rules(requests, [{"val": logits[index]} for index in rows], prepared, EvaluateParams())
    order = np.concatenate(rows)
    fitted = fit_temperature(logits[order], labels[order], patients[order])
    assert rules.calibration == fitted
    assert rules.record()["decision"]["images"] == 60
    assert rules.calibrate(logits) == pytest.approx(softmax(logits, fitted.temperature))


def test_pool__contains_all_images():
    first, second = make_scored([0, 1], [0.1, 0.9], rows=[3, 5]), make_scored([1], [0.4], rows=[4])
    pooled = folds.pool([first, second])
    assert pooled.rows.tolist() == [3, 5, 4]
    assert pooled.probabilities.shape == (3, 2)


def test_warnings__none():
    labels = [0, 1] * 10
    scored = make_scored(labels, [0.1, 0.9] * 10)
    assert evaluation_warnings(make_prepared(), [make_fold()], scored) == []


def test_warnings__few_patients_and_failed_fits():
    pooled = make_scored([0] * 6 + [0, 0], [0.1] * 8, rows=[0, 1, 2, 3, 4, 5, 5, 5])
    fold_results = [make_fold(3, val=((0, 0), (0.1, 0.1)), at_bound=True, reason="one class")]
    result = " | ".join(evaluation_warnings(make_prepared(), fold_results, pooled))
    for text in (
        "No test image is malignant",
        "2 images are in the test set of two",
        "Fold 3: one class",
        "its bound",
    ):
        assert text in result
    assert "Fold 3: no validation image is malignant" in result
    few = evaluation_warnings(make_prepared(), [make_fold()], make_scored([0, 1], [0.1, 0.9]))
    assert few[0].startswith("Only 1 test patient with benign")


def test_ordinal__round_trip_through_predictions_csv(tmp_path):
    from medtune.tasks.classification.evaluation import from_bundle
    from medtune.tasks.classification.predictions import read_predictions, write_predictions

    rows, output = np.arange(4), np.eye(3)[[0, 1, 2, 1]]
    document = {"classes": ["0", "1", "2"], "decision": {"kind": "argmax"}}
    for info, ordinal in (({}, False), ({"label_type": "ordinal"}, True)):
        prepared = SimpleNamespace(info=info, classes=("0", "1", "2"), labels=np.array([0, 1, 2, 2]), slide_of_tile=())
        prepared.paths, prepared.patient_ids = list("abcd"), np.array(list("pqrs"))
        scored = folds.pool([from_bundle(prepared, rows, output, document)] * 2)
        assert scored.stats(EvaluateParams()).ordinal is ordinal
        write_predictions(tmp_path / "predictions.csv", prepared, scored)
        assert read_predictions(tmp_path / "predictions.csv").stats.ordinal is ordinal
        assert ("label_type" in (tmp_path / "predictions.csv").read_text()) is ordinal

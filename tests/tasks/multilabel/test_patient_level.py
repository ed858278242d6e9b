from types import SimpleNamespace

import numpy as np
import pytest

from medtune.config.schema import EvaluateParams
from medtune.evaluation.result import EvaluationResult
from medtune.tasks.multilabel import label_errors, patient_level
from medtune.tasks.multilabel.folds import FindingFold, FindingPredictions, Rules, pool

NAMES = ("mass", "edema")


def make_result(flipped=0, known=True, n_patients=60, n_folds=3, seed=0):
    """Create patients with four images. Fold k tests the patients k, k + 3, ..."""
    draw = np.random.default_rng(seed)
    patients = np.repeat(np.arange(n_patients), 4)
    labels = (draw.random((n_patients, 2)) < 0.5)[patients] & (draw.random((len(patients), 2)) < 0.6)
    p = 1 / (1 + np.exp(-draw.normal(size=labels.shape) - 10 * (labels - 0.5)))
    labels = labels.copy()
    rows = draw.permutation(len(labels))[:flipped]
    labels[rows, 0] ^= True
    ids = np.array([f"P{k:02}" for k in patients])

    def select(mask):
        selected = np.flatnonzero(mask)
        return FindingPredictions(
            selected, ids[selected], labels[selected], p[selected], p[selected], p[selected] >= 0.5
        )

    fold_of = patients % n_folds
    folds = [
        FindingFold(k, "frozen", Rules(NAMES, None, {}), select(fold_of == (k + 1) % n_folds), select(fold_of == k))
        for k in range(n_folds)
    ]
    prepared = SimpleNamespace(
        info={"patients_known": known}, classes=NAMES, patient_ids=ids, paths=[f"{k}.png" for k in range(len(ids))]
    )
    return EvaluationResult(prepared, (), (), folds, pool([fold.test for fold in folds]), {}), rows


@pytest.mark.parametrize("rule", ["mean", "max", "noisy_or"])
def test_patient_level__patient_has_findings_of_all_images(rule, tmp_path):
    result, _ = make_result()
    options = EvaluateParams(patient_score=rule)
    level = patient_level.patient_level(result, options)
    images = result.pooled
    for patient, labels, p, n in zip(
        level.predictions.patient_ids, level.predictions.labels, level.predictions.probabilities, level.n_images,
        strict=True,
    ):  # fmt: skip
        selected = images.patient_ids == patient
        assert n == selected.sum() == 4
        assert (labels == images.labels[selected].any(axis=0)).all()
        scores = images.probabilities[selected]
        expected = {"mean": scores.mean(0), "max": scores.max(0), "noisy_or": 1 - (1 - scores).prod(0)}[rule]
        assert p == pytest.approx(expected)
    facts = patient_level.patient_facts(level, result, options)
    assert (facts["n_patients"], facts["n_images"]) == (60, 240)
    assert facts["metrics"]["auroc"]["value"] > 0.9
    assert facts["metrics"]["brier"]["lo"] < facts["metrics"]["brier"]["value"] < facts["metrics"]["brier"]["hi"]
    assert [row["class"] for row in facts["per_class"]] == list(NAMES)
    patient_level.write_patients(tmp_path / "patients.csv", level, NAMES)
    header, *lines = (tmp_path / "patients.csv").read_text().splitlines()
    assert header == "patient,images,label_mass,pred_mass,prob_mass,label_edema,pred_edema,prob_edema"
    assert len(lines) == 60


def test_patient_level__thresholds_independent_of_test_labels():
    options, actual = EvaluateParams(patient_score="noisy_or", threshold={"sensitivity": 0.8}), []
    for flip in (False, True):
        result, _ = make_result()
        tested = result.folds[0].test.patient_ids[:20]
        for part in (part for fold in result.folds for part in (fold.val, fold.test)):
            part.labels[np.isin(part.patient_ids, tested)] ^= flip
        level = patient_level.patient_level(result, options).predictions
        selected = np.isin(level.patient_ids, result.folds[0].test.patient_ids)
        actual.append((level.decided[selected], level.decided[~selected]))
    assert (actual[0][0] == actual[1][0]).all()
    assert not (actual[0][1] == actual[1][1]).all()


def test_patient_level__no_patient_ids():
    result, _ = make_result(known=False)
    assert patient_level.patient_level(result, EvaluateParams()) == "the dataset has no patient ids"


def test_doubtful_findings__flipped_labels_first(tmp_path):
    result, flipped = make_result(flipped=12)
    actual = label_errors.doubtful_findings(result)
    assert actual.n_images == 240
    pairs = list(zip(actual.rows.tolist(), actual.findings.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert len({(row, 0) for row in flipped.tolist()} & set(pairs)) >= 10
    assert (np.diff(np.abs(actual.probabilities - actual.labels)) <= 0).all()
    label_errors.write_label_errors(tmp_path / "label_errors.csv", actual, result)
    header, first, *_ = (tmp_path / "label_errors.csv").read_text().splitlines()
    assert header == "file,patient,finding,label,suggested,probability"
    shown = bool(actual.labels[0])
    name = NAMES[actual.findings[0]]
    labels = (name, f"no {name}") if shown else (f"no {name}", name)
    assert first.split(",")[2:5] == [name, *labels]


def test_doubtful_findings__none_if_all_labels_agree():
    result, _ = make_result()
    for fold in result.folds:
        for part in (fold.val, fold.test):
            part.probabilities[:] = np.where(part.labels, 0.9, 0.1)
    actual = label_errors.doubtful_findings(result)
    assert len(actual.rows) == 0
    assert label_errors.entries(actual, result) == []

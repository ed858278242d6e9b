"""Detection of flipped labels from out-of-fold predictions."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medtune.data.sources import synthetic
from medtune.evaluation.label_errors import find_label_errors


def flip(truth: np.ndarray, classes: int, seed: int):
    """Change 5 % of the labels; return the labels and the changed positions."""
    rng = np.random.default_rng(seed)
    wrong = rng.choice(len(truth), len(truth) // 20, replace=False)
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + rng.integers(1, classes, len(wrong))) % classes
    return labels, wrong


def out_of_fold(features: np.ndarray, labels: np.ndarray, patients: np.ndarray) -> np.ndarray:
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return cross_val_predict(model, features, labels, groups=patients, cv=GroupKFold(5), method="predict_proba")


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_find_label_errors__recall_of_flipped_labels(classes, seed):
    rng, truth = np.random.default_rng(seed + 10), np.arange(400) % classes
    features = rng.normal(size=(400, 8)) + 3 * rng.normal(size=(classes, 8))[truth]
    labels, wrong = flip(truth, classes, seed)
    result = find_label_errors(labels, out_of_fold(features, labels, np.arange(400)))
    assert np.isin(wrong, result.positions).mean() >= 0.8
    assert np.isin(result.positions[: len(wrong)], wrong).mean() >= 0.7  # chance: 0.05
    hit = np.isin(result.positions, wrong)
    assert (result.suggested[hit] == truth[result.positions[hit]]).mean() >= 0.8


def test_find_label_errors__recall_on_the_synthetic_images():
    params = synthetic.Params(labels="binary", image_size=48, patients=40, images_per_patient=4, stain_spread=0.3)
    samples = synthetic.list_samples(None, params)
    gray = np.stack([sample.read() for sample in samples]).mean(axis=3)
    blocks = np.sort(gray.reshape(-1, 6, 8, 6, 8).mean(axis=(2, 4)).reshape(len(gray), -1), axis=1)[:, ::5]
    levels = np.quantile(gray.reshape(len(gray), -1), np.linspace(0, 1, 9), axis=1).T
    edges = np.stack([np.abs(np.diff(gray, axis=axis)).mean(axis=(1, 2)) for axis in (1, 2)], axis=1)
    truth = np.array([sample.label == "solid" for sample in samples]).astype(np.int64)
    labels, wrong = flip(truth, 2, seed=0)
    patients = np.array([sample.patient_id for sample in samples])
    result = find_label_errors(labels, out_of_fold(np.hstack([blocks, levels, edges]), labels, patients))
    assert np.isin(wrong, result.positions).mean() >= 0.6
    assert len(result.positions) <= 2 * len(wrong)


def test_find_label_errors__empty_if_every_label_is_most_probable():
    labels = np.array([0, 0, 1, 1])
    assert not len(find_label_errors(labels, np.eye(2)[labels] * 0.8 + 0.1).positions)


def test_find_label_errors__never_suggests_a_class_without_images():
    probabilities = np.array([[0.1, 0.1, 0.8], [0.2, 0.2, 0.6], [0.3, 0.6, 0.1]])
    result = find_label_errors(np.array([0, 0, 1]), probabilities)
    assert 2 not in result.suggested

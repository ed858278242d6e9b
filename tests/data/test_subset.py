"""Nested subsets of the training patients, which contain every class."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.data.manifest import PreparedDataset
from medtune.data.subset import nested_subset, subset_patients
from medtune.runtime.paths import TrainSubset

SETS = st.integers(0, 2**32 - 1).flatmap(
    lambda seed: st.tuples(st.just(seed), st.integers(4, 60), st.integers(2, 5), st.booleans())
)


def draw(seed, patients, classes, mixed):
    """Draw labels and patients with 1 to 6 images of one or several classes per patient."""
    rng = np.random.default_rng(seed)
    patient_ids = np.repeat(np.arange(patients), rng.integers(1, 7, patients))
    class_of_patient = rng.integers(0, classes, patients)
    labels = rng.integers(0, classes, len(patient_ids)) if mixed else class_of_patient[patient_ids]
    order = rng.permutation(len(patient_ids))
    return labels[order], np.array([f"P{patient}" for patient in patient_ids[order]])


@given(SETS, st.integers(0, 9))
def test_nested_subset__smaller_percentages_are_subsets(case, seed):
    labels, patient_ids = draw(*case)
    subsets = [
        set(nested_subset(labels, patient_ids, percent, seed).tolist()) for percent in (1, 5, 10, 25, 50, 75, 100)
    ]
    assert all(small <= large for small, large in itertools.pairwise(subsets))
    assert subsets[-1] == set(range(len(labels)))


@given(SETS, st.integers(1, 100), st.integers(0, 9))
def test_nested_subset__selects_all_images_of_patients_of_every_class(case, percent, seed):
    labels, patient_ids = draw(*case)
    rows = nested_subset(labels, patient_ids, percent, seed)
    selected = set(patient_ids[rows])
    assert np.array_equal(rows, np.flatnonzero(np.isin(patient_ids, list(selected))))
    assert set(labels[rows]) == set(labels)
    minimum = int(np.ceil(len(set(patient_ids)) * percent / 100))
    assert minimum <= len(selected) <= max(minimum, len(set(labels)))


def test_nested_subset__preserves_class_fractions():
    patient_ids = np.array([f"P{i:03d}" for i in range(400)])
    labels = np.repeat([0, 1, 2], [300, 80, 20])
    for percent in (10, 25, 50):
        counts = np.bincount(labels[nested_subset(labels, patient_ids, percent, 3)])
        assert np.abs(counts - np.array([300, 80, 20]) * percent / 100).max() <= 2


def test_nested_subset__another_seed_selects_other_patients():
    patient_ids = np.array([f"P{i}" for i in range(40)])
    labels = np.tile([0, 1], 20)
    assert not np.array_equal(nested_subset(labels, patient_ids, 25, 1), nested_subset(labels, patient_ids, 25, 2))
    assert np.array_equal(nested_subset(labels, patient_ids, 25, 1), nested_subset(labels, patient_ids, 25, 1))


@pytest.fixture
def prepared() -> PreparedDataset:
    patient_ids = np.repeat([f"P{i:02d}" for i in range(30)], 4)
    folds = np.repeat(np.arange(30) % 3, 4)
    splits = np.array([["test" if f == k else "val" if f == (k - 1) % 3 else "train" for k in range(3)] for f in folds])
    names = tuple(f"{patient}-{i}" for i, patient in enumerate(patient_ids))
    images = np.zeros((120, 2, 2, 3), np.uint8)
    labels = np.repeat(np.arange(30) // 3 % 2, 4)
    return PreparedDataset(Path(), {}, ("a", "b"), names, labels, patient_ids, folds, splits, images, names)


def test_subset__keeps_validation_and_test(prepared):
    subset = subset_patients(prepared, 1, TrainSubset(30, 1))
    before, after = prepared.indices(1), subset.indices(1)
    assert set(after["train"]) < set(before["train"])
    for split in ("val", "test"):
        assert np.array_equal(before[split], after[split])
    assert np.array_equal(prepared.splits[:, 0], subset.splits[:, 0])
    assert subset.digest == prepared.digest
    assert subset.split_digest(1) != prepared.split_digest(1)


def test_subset_with_validation__is_nested_and_never_larger_than_training(prepared):
    sizes, before = [], set()
    for percent in (1, 5, 30, 60, 100):
        indices = subset_patients(prepared, 1, TrainSubset(percent, 1, with_validation=True)).indices(1)
        patients = {split: set(prepared.patient_ids[rows].tolist()) for split, rows in indices.items()}
        assert len(patients["val"]) <= len(patients["train"])
        assert before <= patients["val"]
        assert set(prepared.labels[indices["val"]].tolist()) == {0, 1}
        assert np.array_equal(indices["test"], prepared.indices(1)["test"])
        before = patients["val"]
        sizes.append(len(before))
    assert sizes == [2, 2, 3, 6, 10]


def test_subset_with_validation__large_validation_set_is_capped(prepared):
    train = np.unique(prepared.patient_ids[prepared.indices(1)["train"]])
    splits = prepared.splits.copy()
    splits[np.isin(prepared.patient_ids, train[4:]), 1] = "val"
    indices = subset_patients(replace(prepared, splits=splits), 1, TrainSubset(100, 1, with_validation=True)).indices(1)
    assert [len(np.unique(prepared.patient_ids[indices[split]])) for split in ("train", "val")] == [4, 4]

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.data.folds import grouped_stratified_folds


@st.composite
def cases(draw):
    folds = draw(st.integers(2, 6))
    n_patients = draw(st.integers(folds, 40))
    classes = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = rng.integers(1, 9, n_patients)
    patients = np.repeat(np.arange(n_patients), sizes)
    labels = rng.integers(0, classes, n_patients)[patients]
    mixed = rng.random(len(labels)) < draw(st.sampled_from([0, 0.2]))
    labels = np.where(mixed, rng.integers(0, classes, len(labels)), labels)
    return labels, np.char.add("g", patients.astype(str)), folds


@settings(max_examples=60)
@given(cases())
def test_folds__are_disjoint_by_patient_and_reproducible(case):
    labels, patient_ids, folds = case
    assigned = grouped_stratified_folds(labels, patient_ids, folds)
    assert assigned.shape == labels.shape
    assert set(np.unique(assigned)) == set(range(folds))
    for patient in np.unique(patient_ids):
        assert len(set(assigned[patient_ids == patient])) == 1
    assert np.array_equal(assigned, grouped_stratified_folds(labels, patient_ids, folds))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(3, 5))
def test_folds__every_class_in_every_fold_if_possible(seed, folds):
    rng = np.random.default_rng(seed)
    label_of = np.concatenate([np.full(folds + int(rng.integers(0, 9)), label) for label in range(3)])
    sizes = rng.integers(4, 8, len(label_of))
    patient_ids = np.repeat(np.arange(len(label_of)), sizes)
    labels = label_of[patient_ids]
    assigned = grouped_stratified_folds(labels, patient_ids.astype(str), folds)
    table = np.array([np.bincount(labels[assigned == fold], minlength=3) for fold in range(folds)])
    assert (table > 0).all()
    # The size of every fold differs from the mean by at most 1.5 times the largest patient.
    assert np.abs(table - np.bincount(labels) / folds).max() <= 1.5 * sizes.max()


def test_folds__class_of_one_patient_is_in_default_train():
    labels = np.repeat([0] * 10 + [1], 4)
    patient_ids = np.repeat(np.arange(11), 4).astype(str)
    assert grouped_stratified_folds(labels, patient_ids, 5)[-1] == 4


def test_folds__do_not_depend_on_the_order_of_images():
    rng = np.random.default_rng(1)
    patient_ids = np.repeat(np.arange(20), 3).astype(str)
    labels = np.repeat(rng.integers(0, 3, 20), 3)
    order = rng.permutation(60)
    assert np.array_equal(
        grouped_stratified_folds(labels, patient_ids, 5)[order],
        grouped_stratified_folds(labels[order], patient_ids[order], 5),
    )

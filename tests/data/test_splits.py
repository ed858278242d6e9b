import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from medtune.config.data import SplitParams
from medtune.config.errors import InputError
from medtune.data.sample import Sample
from medtune.data.splits import split_samples

CLASSES = ("a", "b")


def make_samples(patients: int = 20, images_per_patient: int = 5, named: bool = True, **options) -> list[Sample]:
    return [
        Sample(f"{patient:02d}/{image}", CLASSES[patient % 2], f"P{patient}" if named else None, **options)
        for patient in range(patients)
        for image in range(images_per_patient)
    ]


@settings(max_examples=40)
@given(st.sampled_from(["patient", "image"]), st.integers(3, 6), st.integers(12, 30), st.integers(1, 5), st.booleans())
def test_split__every_image_is_tested_once_and_no_patient_leaks(
    protocol, folds, patients, images_per_patient, all_folds
):
    params = SplitParams(
        protocol=protocol, folds=folds, test_fold="all" if all_folds else 1, allow_missing_classes=True
    )
    samples = make_samples(patients, images_per_patient)
    result = split_samples(samples, CLASSES, params, "test")
    assert ((result.splits == "test").sum(1) == 1).all()
    assert ((result.splits == "val").sum(1) == 1).all()
    assert np.array_equal((result.splits == "test").argmax(1), result.folds)
    repeated = split_samples(samples, CLASSES, params, "test")
    assert np.array_equal(result.splits, repeated.splits)
    if protocol == "patient":
        assert result.leaked_patients == ()
        patient_ids = np.array([sample.patient_id for sample in samples])
        for fold in range(folds):
            for patient in set(patient_ids):
                assert len(set(result.splits[patient_ids == patient, fold])) == 1


def test_split__image_protocol_equals_scikit_learn_and_reports_the_leak():
    samples = make_samples()
    result = split_samples(samples, CLASSES, SplitParams(protocol="image"), "test")
    labels = [sample.label for sample in samples]
    for fold, (_, test) in enumerate(StratifiedKFold(5, shuffle=True, random_state=1).split(labels, labels)):
        assert np.array_equal(np.flatnonzero(result.folds == fold), test)
    assert result.leaked_patients
    assert set(result.leaked_patients) <= {sample.patient_id for sample in samples}
    assert result.notes[0].startswith("LEAK: ")


def test_split__selected_validation_fold():
    result = split_samples(make_samples(), CLASSES, SplitParams(test_fold=2, val_fold=4), "test")
    assert np.array_equal(result.splits[:, 2] == "val", result.folds == 4)
    # The network that is tested on the validation fold is validated on the fold before it.
    assert np.array_equal(result.splits[:, 4] == "val", result.folds == 3)


def test_split__hcrf_trains_on_one_fold_of_four():
    result = split_samples(make_samples(named=False), CLASSES, SplitParams(protocol="hcrf-1-1-2", folds=4), "test")
    for fold in range(4):
        folds_of_split = {
            split: set(result.folds[result.splits[:, fold] == split]) for split in ("train", "val", "test")
        }
        assert [len(folds_of_split[split]) for split in ("train", "val", "test")] == [1, 1, 2]
        assert fold in folds_of_split["test"]
        assert (result.splits[:, fold] == "train").mean() == 0.25


def test_split__patient_protocol_without_patients_suggests_others():
    with pytest.raises(InputError, match=r"have no patient ids.*Set data\.split\.protocol=image"):
        split_samples(make_samples(named=False), CLASSES, SplitParams(), "hcrf")
    with pytest.raises(InputError, match="protocol=image or official"):
        split_samples(make_samples(named=False, published_splits=("train",)), CLASSES, SplitParams(), "medmnist")


def test_split__too_few_patients_are_an_error():
    with pytest.raises(InputError, match=r"folds=5: the data .* have only 4 patients"):
        split_samples(make_samples(patients=4), CLASSES, SplitParams(), "test")


def test_split__empty_class_or_single_class_is_an_error():
    with pytest.raises(InputError, match=r"no image has class c \(images per class: a 50, b 50, c 0\)\. Add images$"):
        split_samples(make_samples(), ("a", "b", "c"), SplitParams(), "test")
    with pytest.raises(InputError, match="all images have class a"):
        split_samples([Sample("1", "a", "P")], ("a",), SplitParams(), "test")


def test_split__class_of_one_patient_is_rejected_or_allowed():
    samples = [*make_samples(), *(Sample(f"z/{image}", "rare", "Z") for image in range(4))]
    with pytest.raises(
        InputError,
        match=r"Class rare \(1 patient, 4 images\) is absent from .*val of test fold 1.*allow_missing_classes=true",
    ):
        split_samples(samples, ("a", "b", "rare"), SplitParams(), "test")
    result = split_samples(samples, ("a", "b", "rare"), SplitParams(allow_missing_classes=True), "test")
    assert "rare" in result.notes[0]
    assert set(result.splits[-4:, 1]) == {"train"}


def test_split__class_with_fewer_images_than_folds_is_an_error():
    samples = [*make_samples(named=False), Sample("z/0", "rare"), Sample("z/1", "rare")]
    with pytest.raises(InputError, match="Class rare"):
        split_samples(samples, ("a", "b", "rare"), SplitParams(protocol="image", test_fold="all"), "test")


def official(samples, columns):
    return [
        Sample(
            sample.path,
            sample.label,
            sample.patient_id,
            published_splits=tuple(column[sample.patient_id] for column in columns),
        )
        for sample in samples
    ]


def test_split__official_takes_validation_from_train_by_patient():
    rng = np.random.default_rng(2)
    columns = []
    for _ in range(5):
        test = set(rng.choice([f"P{g}" for g in range(0, 20, 2)], 3, replace=False)) | set(
            rng.choice([f"P{g}" for g in range(1, 20, 2)], 3, replace=False)
        )
        columns.append({f"P{g}": "test" if f"P{g}" in test else "train" for g in range(20)} | {"P0": "unused"})
    samples = official(make_samples(), columns)
    result = split_samples(samples, CLASSES, SplitParams(protocol="official", test_fold="all"), "test")
    assert result.leaked_patients == ()
    patient_ids = np.array([sample.patient_id for sample in samples])
    assert set(result.splits[patient_ids == "P0"].ravel()) == {"unused"}
    for fold, column in enumerate(columns):
        published = np.array([column[name] for name in patient_ids])
        assert np.array_equal(result.splits[:, fold] == "test", published == "test")
        val = result.splits[:, fold] == "val"
        assert 0.1 < val.sum() / (published == "train").sum() < 0.35
        assert len({samples[row].label for row in np.flatnonzero(val)}) == 2
    assert (result.folds == -1).any()


def test_split__official_with_one_published_split():
    samples = [Sample(f"{i}", CLASSES[i % 2], published_splits=(("train", "val", "test")[i // 10],)) for i in range(30)]
    result = split_samples(samples, CLASSES, SplitParams(protocol="official"), "test")
    assert (result.splits[:, 0] == result.splits[:, 4]).all()
    assert set(result.folds[20:]) == {-1} or set(result.folds[20:]) == {0}
    with pytest.raises(InputError, match=r"Set data\.split\.test_fold=0"):
        split_samples(samples, CLASSES, SplitParams(protocol="official", test_fold="all"), "test")


def test_split__official_needs_a_published_split():
    with pytest.raises(InputError, match="no published split"):
        split_samples(make_samples(), CLASSES, SplitParams(protocol="official"), "folder")


def test_split__official_needs_the_published_number_of_folds():
    samples = official(make_samples(), [{f"P{g}": "train" for g in range(20)}] * 2)
    with pytest.raises(InputError, match="the data define 2 folds"):
        split_samples(samples, CLASSES, SplitParams(protocol="official"), "test")


def test_folders__too_few_images_for_validation_are_an_error():
    train = make_samples(4, 1, named=False, published_splits=("train",))
    with pytest.raises(InputError, match="has at most 2 images per class; 5 are needed for validation"):
        split_samples(train, CLASSES, SplitParams(protocol="folders"), "folder")


def test_split__classes_one_level_deeper_are_suggested():
    samples = [Sample(f"set/{label}/{n}.png", "set", f"P{n}") for n, label in enumerate("abab")]
    with pytest.raises(InputError, match=r"folders in set \(a, b\) are the classes, set data\.root to the folder set"):
        split_samples(samples, ("set",), SplitParams(), "folder")


@pytest.mark.parametrize("known", [True, False])
def test_folders__missing_validation_is_taken_from_train(known):
    train = make_samples(12, 4, named=known, published_splits=("train",))
    test = [
        Sample(f"test/{n}", CLASSES[n % 2], f"T{n}" if known else None, published_splits=("test",)) for n in range(8)
    ]
    result = split_samples([*train, *test], CLASSES, SplitParams(protocol="folders"), "folder")
    column = result.splits[:, 1]
    assert set(column[len(train) :]) == {"test"}
    assert 0.1 < (column[: len(train)] == "val").mean() < 0.3
    assert result.leaked_patients == ()
    assert any(f"by {'patient' if known else 'image'}" in note for note in result.notes)

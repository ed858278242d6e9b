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


def make(groups: int = 20, each: int = 5, named: bool = True, **more) -> list[Sample]:
    return [
        Sample(f"{group:02d}/{image}", CLASSES[group % 2], f"P{group}" if named else None, **more)
        for group in range(groups)
        for image in range(each)
    ]


@settings(max_examples=40)
@given(st.sampled_from(["patient", "image"]), st.integers(3, 6), st.integers(12, 30), st.integers(1, 5), st.booleans())
def test_split__each_image_is_tested_once_and_no_patient_leaks(protocol, folds, groups, each, every):
    params = SplitParams(protocol=protocol, folds=folds, test_fold="all" if every else 1, allow_missing_classes=True)
    samples = make(groups, each)
    result = split_samples(samples, CLASSES, params, "test")
    assert ((result.splits == "test").sum(1) == 1).all()
    assert ((result.splits == "val").sum(1) == 1).all()
    assert np.array_equal((result.splits == "test").argmax(1), result.folds)
    again = split_samples(samples, CLASSES, params, "test")
    assert np.array_equal(result.splits, again.splits)
    if protocol == "patient":
        assert result.leaked_patients == ()
        names = np.array([sample.patient_id for sample in samples])
        for fold in range(folds):
            for group in set(names):
                assert len(set(result.splits[names == group, fold])) == 1


def test_split__image_protocol_equals_scikit_learn_and_reports_the_leak():
    samples = make()
    result = split_samples(samples, CLASSES, SplitParams(protocol="image"), "test")
    labels = [sample.label for sample in samples]
    for fold, (_, test) in enumerate(StratifiedKFold(5, shuffle=True, random_state=1).split(labels, labels)):
        assert np.array_equal(np.flatnonzero(result.folds == fold), test)
    assert result.leaked_patients
    assert set(result.leaked_patients) <= {sample.patient_id for sample in samples}
    assert result.notes[0].startswith("LEAK: ")


def test_split__chosen_val_fold():
    result = split_samples(make(), CLASSES, SplitParams(test_fold=2, val_fold=4), "test")
    assert np.array_equal(result.splits[:, 2] == "val", result.folds == 4)
    # The network that is tested on the validation fold is validated on the fold before it.
    assert np.array_equal(result.splits[:, 4] == "val", result.folds == 3)


def test_split__hcrf_trains_on_one_fold_of_four():
    result = split_samples(make(named=False), CLASSES, SplitParams(protocol="hcrf-1-1-2", folds=4), "test")
    for fold in range(4):
        parts = {part: set(result.folds[result.splits[:, fold] == part]) for part in ("train", "val", "test")}
        assert [len(parts[part]) for part in ("train", "val", "test")] == [1, 1, 2]
        assert fold in parts["test"]
        assert (result.splits[:, fold] == "train").mean() == 0.25


def test_split__patient_protocol_without_patients_suggests_others():
    with pytest.raises(InputError, match=r"have no patient ids.*Set data\.split\.protocol=image"):
        split_samples(make(named=False), CLASSES, SplitParams(), "hcrf")
    with pytest.raises(InputError, match="protocol=image or official"):
        split_samples(make(named=False, published_splits=("train",)), CLASSES, SplitParams(), "medmnist")


def test_split__too_few_patients():
    with pytest.raises(InputError, match=r"folds=5: the data .* have only 4 patients"):
        split_samples(make(groups=4), CLASSES, SplitParams(), "test")


def test_split__empty_class_and_single_class():
    with pytest.raises(InputError, match=r"no image has class c \(images per class: a 50, b 50, c 0\)\. Add images$"):
        split_samples(make(), ("a", "b", "c"), SplitParams(), "test")
    with pytest.raises(InputError, match="all images have class a"):
        split_samples([Sample("1", "a", "P")], ("a",), SplitParams(), "test")


def test_split__class_of_one_patient_is_rejected_or_allowed():
    samples = [*make(), *(Sample(f"z/{image}", "rare", "Z") for image in range(4))]
    with pytest.raises(
        InputError,
        match=r"Class rare \(1 patients, 4 images\) is absent from .*val of test fold 1.*allow_missing_classes=true",
    ):
        split_samples(samples, ("a", "b", "rare"), SplitParams(), "test")
    result = split_samples(samples, ("a", "b", "rare"), SplitParams(allow_missing_classes=True), "test")
    assert "rare" in result.notes[0]
    assert set(result.splits[-4:, 1]) == {"train"}


def test_split__class_with_fewer_images_than_folds_under_image():
    samples = [*make(named=False), Sample("z/0", "rare"), Sample("z/1", "rare")]
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


def test_split__official_carves_validation_by_patient():
    rng = np.random.default_rng(2)
    columns = []
    for _ in range(5):
        test = set(rng.choice([f"P{g}" for g in range(0, 20, 2)], 3, replace=False)) | set(
            rng.choice([f"P{g}" for g in range(1, 20, 2)], 3, replace=False)
        )
        columns.append({f"P{g}": "test" if f"P{g}" in test else "train" for g in range(20)} | {"P0": "unused"})
    samples = official(make(), columns)
    result = split_samples(samples, CLASSES, SplitParams(protocol="official", test_fold="all"), "test")
    assert result.leaked_patients == ()
    names = np.array([sample.patient_id for sample in samples])
    assert set(result.splits[names == "P0"].ravel()) == {"unused"}
    for fold, column in enumerate(columns):
        published = np.array([column[name] for name in names])
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
    with pytest.raises(InputError, match="Set it to 0"):
        split_samples(samples, CLASSES, SplitParams(protocol="official", test_fold="all"), "test")


def test_split__official_without_published_split():
    with pytest.raises(InputError, match="no published split"):
        split_samples(make(), CLASSES, SplitParams(protocol="official"), "folder")


def test_split__official_with_another_number_of_folds():
    samples = official(make(), [{f"P{g}": "train" for g in range(20)}] * 2)
    with pytest.raises(InputError, match="2 folds are published"):
        split_samples(samples, CLASSES, SplitParams(protocol="official"), "test")


def test_folders__too_few_images_to_validate():
    train = make(4, 1, named=False, published_splits=("train",))
    with pytest.raises(InputError, match="has at most 2 images per class; 5 are needed for validation"):
        split_samples(train, CLASSES, SplitParams(protocol="folders"), "folder")


def test_split__classes_one_level_deeper_are_suggested():
    samples = [Sample(f"set/{label}/{n}.png", "set", f"P{n}") for n, label in enumerate("abab")]
    with pytest.raises(InputError, match=r"folders in set \(a, b\) are the classes, set data\.root to the folder set"):
        split_samples(samples, ("set",), SplitParams(), "folder")


@pytest.mark.parametrize("known", [True, False])
def test_folders__missing_validation_is_taken_from_train(known):
    train = make(12, 4, named=known, published_splits=("train",))
    test = [
        Sample(f"test/{n}", CLASSES[n % 2], f"T{n}" if known else None, published_splits=("test",)) for n in range(8)
    ]
    result = split_samples([*train, *test], CLASSES, SplitParams(protocol="folders"), "folder")
    column = result.splits[:, 1]
    assert set(column[len(train) :]) == {"test"}
    assert 0.1 < (column[: len(train)] == "val").mean() < 0.3
    assert result.leaked_patients == ()
    assert any(f"by {'patient' if known else 'image'}" in note for note in result.notes)

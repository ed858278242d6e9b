import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.config.errors import InputError
from medtune.data.fold_assignments import FoldAssignments, read_assignments
from medtune.data.folds import grouped_stratified_folds


@settings(max_examples=40)
@given(st.integers(5, 25), st.integers(0, 20), st.integers(3, 5), st.integers(0, 2**32 - 1))
def test_new_patients__do_not_change_recorded_folds(tmp_path_factory, n_recorded, n_new, folds, seed):
    rng, path = np.random.default_rng(seed), tmp_path_factory.mktemp("folds") / "folds.csv"
    labels = np.concatenate([[0, 1] * folds, rng.integers(0, 2, n_recorded + n_new)])
    patient_ids = np.array([f"g{n}" for n in range(len(labels))])
    old = len(labels) - n_new
    first = grouped_stratified_folds(labels[:old], patient_ids[:old], folds)
    assert read_assignments(path, "folder", folds).write(path, patient_ids[:old].tolist(), first.tolist())
    recorded = read_assignments(path, "folder", folds)
    second = grouped_stratified_folds(labels, patient_ids, folds, recorded.lookup(patient_ids.tolist()))
    assert np.array_equal(second[:old], first)
    assert recorded.is_consistent_with(patient_ids.tolist(), second.tolist())
    assert not recorded.is_consistent_with(patient_ids.tolist(), ((second + 1) % folds).tolist())
    assert recorded.write(path, patient_ids.tolist(), second.tolist()) == (n_new > 0)
    assert np.array_equal(
        grouped_stratified_folds(
            labels, patient_ids, folds, read_assignments(path, "folder", folds).lookup(patient_ids.tolist())
        ),
        second,
    )


def test_new_patients__balance_the_folds():
    labels, patient_ids = np.repeat([0, 1], 12), np.array([f"g{n}" for n in range(24)])
    recorded = {f"g{n}": 0 for n in (*range(4), *range(12, 16))}
    assigned = grouped_stratified_folds(labels, patient_ids, 3, recorded)
    assert [int(((assigned == fold) & (labels == label)).sum()) for fold in range(3) for label in (0, 1)] == [4] * 6


def test_file__hides_names_and_separates_data_sets(tmp_path):
    path = tmp_path / "folds.csv"
    assert FoldAssignments("folder", 5).write(path, ["patient-07", "patient-08"], [3, 4])
    assert "patient-" not in path.read_text()
    assert read_assignments(path, "folder", 5).lookup(["patient-07", "patient-99"]) == {"patient-07": 3}
    assert read_assignments(path, "folder", 4).lookup(["patient-07"]) == {}
    assert read_assignments(path, "breakhis", 5).lookup(["patient-07"]) == {}
    assert read_assignments(path, "breakhis", 5).write(path, ["patient-07"], [0])
    assert read_assignments(path, "folder", 5).lookup(["patient-07"]) == {"patient-07": 3}


def test_file__recorded_folds_do_not_change(tmp_path):
    path = tmp_path / "folds.csv"
    FoldAssignments("folder", 5).write(path, ["a"], [3])
    assert not read_assignments(path, "folder", 5).write(path, ["a"], [1])
    assert read_assignments(path, "folder", 5).lookup(["a"]) == {"a": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [("name,fold\na,1\n", "the columns are"), ("group,fold\na,x\n", "line 2"), ("patient,fold\na,x\n", "line 2")],
)
def test_file__invalid_content_is_an_error(tmp_path, text, message):
    path = tmp_path / "folds.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_assignments(path, "folder", 5)


def test_file__missing_file_is_empty(tmp_path):
    assert read_assignments(tmp_path / "none.csv", "folder", 5).lookup(["a"]) == {}


def test_read__changed_file_is_an_error(tmp_path):
    path = tmp_path / "folds.csv"
    FoldAssignments("folder", 5).write(path, ["p1", "p2"], [0, 1])
    content = path.read_bytes()
    for broken in (content.replace(b",1\n", b",3\n"), content[:-30], b"", b"#" + content[2:]):
        path.write_bytes(broken)
        with pytest.raises(InputError):
            read_assignments(path, "folder", 5)
    path.write_bytes(content.split(b"\n", 1)[1])  # as earlier versions wrote it
    assert set(read_assignments(path, "folder", 5).fold_by_hash.values()) == {0, 1}


def test_read__accepts_the_column_name_of_earlier_versions(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("group,fold\nx,3\n")
    assert read_assignments(path, "folder", 5).fold_by_hash == {"x": 3}

import pytest

from medtune.config.data import DataParams
from medtune.config.errors import InputError
from medtune.data.sample import Sample
from medtune.data.sample_checks import check_samples


def params(**options):
    return DataParams(source="folder", **options)


def samples(*patients, label="a", where=True):
    return [
        Sample(f"{n}.png", label, patient, where=f"t.csv line {n + 2}" if where else "")
        for n, patient in enumerate(patients)
    ]


def labeled(*labels):
    return [Sample(f"{label}/{n}.png", label) for n, label in enumerate(labels)]


def test_patients__similar_spellings_are_reported_with_both_fixes():
    with pytest.raises(InputError) as error:
        check_samples(samples("P1", "p1", "P2"), params())
    message = str(error.value)
    assert "'P1' (t.csv line 2) and 'p1' (t.csv line 3)" in message
    assert "--set data.similar_patients=equal" in message
    assert "--set data.similar_patients=different" in message
    assert "\n" not in message


def test_patients__declared_equal_are_merged():
    checked = check_samples(samples("P1", "p1", "p1", "P2"), params(similar_patients="equal"))
    assert [sample.patient_id for sample in checked.samples] == ["p1", "p1", "p1", "P2"]
    assert "1 patients had several spellings" in checked.notes[0]


def test_patients__declared_different_are_unchanged():
    listed = samples("P1", "p1")
    assert check_samples(listed, params(similar_patients="different")).samples == listed


def test_patients__may_be_unknown():
    assert check_samples(samples(None, None), params()).samples == samples(None, None)


def test_missing__patients_are_reported_by_line():
    with pytest.raises(InputError) as error:
        check_samples(samples("NA", "P1", "NA", "", "NA", "NA"), params())
    message = str(error.value)
    assert "t.csv line 2, t.csv line 4, t.csv line 6 and 1 more: patient is 'NA' (4 images)" in message
    assert "t.csv line 5: patient is ''" in message
    assert """--set 'data.allow_values=["NA"]'""" in message


def test_missing__allowed_value_is_a_patient_or_class():
    options = params(allow_values=["unknown"])
    assert len(check_samples(samples("Unknown", "P1", label="UNKNOWN"), options).samples) == 2
    with pytest.raises(InputError, match="patient is 'NA'"):
        check_samples(samples("NA", "P1"), options)
    with pytest.raises(InputError, match="patient is ''"):
        check_samples(samples("", "P1"), params(allow_values=[""]))


def test_missing__null_in_yaml_is_a_name():
    assert len(check_samples(samples("null", "P1"), params(allow_values=[None])).samples) == 2


def test_missing__class_must_be_declared():
    with pytest.raises(InputError, match=r"unknown/1\.png: label is 'unknown'.*remove this image,"):
        check_samples(labeled("a", "unknown"), params())
    assert len(check_samples(labeled("a", "unknown"), params(), ("a", "unknown")).samples) == 2


def test_missing__invisible_label_is_escaped():
    with pytest.raises(InputError, match=r"label is '\\u200b'"):
        check_samples(labeled("a", "\u200b"), params())


def test_patients__number_rounded_by_a_spreadsheet_is_an_error():
    with pytest.raises(InputError, match=r"line 3: patient is '1\.23457E\+15', a number that a spreadsheet rounded"):
        check_samples(samples("P1", "1.23457E+15"), params())


def test_labels__similar_spellings_are_reported_with_one_fix():
    with pytest.raises(InputError) as error:
        check_samples(labeled("Benign", "benign", "benign", "malignant", "malignant."), params())
    message = str(error.value)
    assert "'benign' (2 images) and 'Benign' (1 image)" in message
    assert """--set 'data.label_map={"Benign": "benign", "malignant.": "malignant"}'""" in message


def test_labels__declared_classes_may_be_similar():
    assert len(check_samples(labeled("T", "t"), params(), ("T", "t")).samples) == 2


def test_labels__fix_uses_the_spelling_of_the_declared_class():
    listed = labeled("Benign", "Benign", "benign", "malignant")
    with pytest.raises(InputError, match=r"""data\.label_map=\{"Benign": "benign"\}"""):
        check_samples(listed, params(), ("benign", "malignant"))
    with pytest.raises(InputError, match=r"""not in data\.class_names .*data\.label_map=\{"Benign": "benign"\}"""):
        check_samples(listed[:2], params(), ("benign", "malignant"))


def test_labels__unknown_class_is_an_error():
    with pytest.raises(InputError, match=r"'b' is not in data\.class_names \(a, c\)"):
        check_samples(labeled("a", "b"), params(), ("a", "c"))


def test_names__invalid_utf8_is_an_error_or_rejected():
    listed = [Sample("a/k\udcf6rper.png", "a"), *labeled("a", "b")]
    with pytest.raises(InputError, match=r"1 of 3 images cannot be used: a/k\\xf6rper\.png: the file name is not"):
        check_samples(listed, params())
    checked = check_samples(listed, params(on_bad_image="reject"))
    assert checked.rejected == (("a/k\\xf6rper.png", "the file name is not valid UTF-8"),)
    assert checked.samples == labeled("a", "b")


def test_names__no_valid_name_is_an_error():
    with pytest.raises(InputError, match="1 of 1 images"):
        check_samples([Sample("k\udcf6.png", "a")], params(on_bad_image="reject"))

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.config.errors import InputError
from medtune.data import label_table
from medtune.data.sample import Sample


def samples_with_columns(*cells: dict[str, str]) -> list[Sample]:
    return [Sample(f"{k}.png", "", None, row, where=f"labels.csv line {k + 2}") for k, row in enumerate(cells)]


def samples_with_labels(*cells: str) -> list[Sample]:
    return [Sample(f"{k}.png", cell, where=f"labels.csv line {k + 2}") for k, cell in enumerate(cells)]


@pytest.mark.parametrize(("yes", "no"), [("1", "0"), ("1.0", "0.0"), ("TRUE", "FALSE"), (" 1", "0 ")])
def test_columns__are_findings(yes, no):
    samples = label_table.from_columns(
        samples_with_columns({"A": yes, "B": no}, {"A": no, "B": no}), {"a": "A", "b": "B"}
    )
    assert [sample.findings for sample in samples] == [("a",), ()]


def test_columns__error_counts_invalid_values_by_finding():
    samples = samples_with_columns({"a": "1", "b": ""}, {"a": "-1.0", "b": ""}, {"a": "0", "b": "0"})
    with pytest.raises(InputError) as error:
        label_table.from_columns(samples, {"a": "a", "b": "b"})
    assert str(error.value).startswith(
        "b is empty in 2 of 3 rows (labels.csv line 2, labels.csv line 3); a is '-1.0' in 1 of 3 rows (labels.csv line "
        "3). Every finding needs 0 or 1 in each row"
    )


@given(st.lists(st.sets(st.sampled_from(["Mass", "Edema", "Hernia"])), min_size=1), st.sampled_from(["|", ";", ", "]))
def test_cells__joined_findings_are_parsed(sets, separator):
    cells = [separator.join(sorted(names)) or "no finding" for names in sets]
    samples = label_table.from_cells(samples_with_labels("Mass" + separator + "Edema", *cells), separator, "No Finding")
    assert [set(sample.findings) for sample in samples[1:]] == sets


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("Mass|", r"labels.csv line 3: label is 'Mass\|', with an empty name next to '\|' \(1 row\)"),
        ("Mass||Edema", "with an empty name"),
        ("No Finding|Mass", r"label is 'No Finding\|Mass', a finding and 'No Finding' \(1 row\)"),
    ],
)
def test_cells__invalid_labels_are_an_error(cell, message):
    with pytest.raises(InputError, match=message):
        label_table.from_cells(samples_with_labels("Mass|Edema", cell), "|", "No Finding")


def test_cells__error_suggests_another_separator():
    with pytest.raises(
        InputError, match=r"no label contains it, but 1 contain ';'.*--set 'data.label_separator=\";\"'"
    ):
        label_table.from_cells(samples_with_labels("Mass;Edema", "Mass", "Edema"), "|", "No Finding")
    samples = label_table.from_cells(samples_with_labels("Pneumonia, viral", "Mass"), "|", "No Finding")
    assert samples[0].findings == ("Pneumonia, viral",)


def test_cells__error_suggests_another_no_finding():
    with pytest.raises(InputError, match=r"label is 'None' in 2 rows.*use --set data.no_finding=None"):
        label_table.from_cells(samples_with_labels("Mass|Edema", "None", "None"), "|", "No Finding")
    assert label_table.from_cells(samples_with_labels("Mass|Edema", "none"), "|", "None")[1].findings == ()


@pytest.mark.parametrize("separator", [" and ", " - ", "\\", " ", ";", " mit ", ", ", "\uff5c", "/"])
def test_cells__list_with_another_separator_is_an_error(separator):
    for other in ([], ["Mass|Edema"]):  # also if other cells contain the separator
        with pytest.raises(InputError, match=r"data\.label_separator=\|: .*Mass.*data\.class_names") as error:
            label_table.from_cells(
                samples_with_labels(f"Mass{separator}Edema", "Mass", "Edema", *other), "|", "No Finding"
            )
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("separator", [", ", "; "])
def test_cells__only_lists_with_another_separator_are_an_error(separator):
    cells = samples_with_labels(f"Mass{separator}Edema", f"Nodule{separator}Hernia", "No Finding")
    with pytest.raises(InputError, match=r"no label contains it, but 2 contain"):
        label_table.from_cells(cells, "|", "No Finding")


def test_cells__class_names_are_not_split():
    class_names = ["Mass and Edema", "Mass", "Edema", "normal"]
    samples = label_table.from_cells(
        samples_with_labels("Mass and Edema", "Mass|Edema", "normal"), "|", "No Finding", class_names
    )
    assert [sample.findings for sample in samples] == [("Mass and Edema",), ("Mass", "Edema"), ("normal",)]


@pytest.mark.parametrize("label", ["normal", "Healthy", "NEGATIVE", "ohne Befund"])
def test_cells__similar_no_finding_label_is_an_error(label):
    with pytest.raises(InputError, match=rf"label is '{label}' in 1 row.*data\.no_finding=.*data\.class_names"):
        label_table.from_cells(samples_with_labels("Mass|Edema", label), "|", "No Finding")


@pytest.mark.parametrize("cell", ["['Mass', 'Edema']", '["Mass"]', "{Mass,Edema}", "[]"])
def test_cells__lists_in_brackets_are_an_error(cell):
    with pytest.raises(InputError, match="a list in brackets"):
        label_table.from_cells(samples_with_labels("Mass", cell), "|", "No Finding")

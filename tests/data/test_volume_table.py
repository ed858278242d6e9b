import pytest

from medtune.config.errors import InputError
from medtune.data.table import read_table
from medtune.data.volume_table import find_columns, header_names, parse_spacing, read_cases

DEFAULT = dict.fromkeys(("path", "mask", "patient", "spacing"))


def table(tmp_path, text, chosen=DEFAULT):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    return read_table(tmp_path / "t.csv", header_names(chosen))


def cases(tmp_path, text, protocol="patient", pattern=None, **names):
    chosen = {**DEFAULT, **names}
    read = table(tmp_path, text, chosen)
    return read_cases(read, find_columns(read, chosen), tmp_path, protocol, pattern)


def message(function, *arguments, **options):
    with pytest.raises(InputError) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_cases__have_the_cells_of_the_row(tmp_path):
    text = "Path;mask;patient;spacing;age\na.nii;m/a.nii;P1;1x1x2.5;7\nsub\\b.nii;m\\b.nii;P2;;\n"
    first, second = cases(tmp_path, text)
    assert (first.name, first.images, first.mask, first.where) == ("a", ("a.nii",), "m/a.nii", "t.csv line 2")
    assert (first.patient, first.spacing, first.metadata) == ("P1", (1.0, 1.0, 2.5), {"age": "7"})
    assert (second.name, second.images, second.mask, second.spacing) == ("sub/b", ("sub/b.nii",), "m/b.nii", None)


def test_cases__columns_can_be_renamed_and_group_is_the_patient(tmp_path):
    [case] = cases(tmp_path, "scan,label,group\na.nii,b.nii,P1\n", path="scan", mask="label")
    assert (case.images, case.mask, case.patient, case.metadata) == (("a.nii",), "b.nii", "P1", {})
    [case] = cases(tmp_path, "path,mask\na.nii,b.nii\n")
    assert case.patient is None


def test_cases__absolute_paths_in_the_root_are_relative(tmp_path):
    [case] = cases(tmp_path, f"path,mask\n{tmp_path}/a.nii,{tmp_path}/m/a.nii\n")
    assert case.paths == ("a.nii", "m/a.nii")


def test_cases__protocols_use_their_column(tmp_path):
    text = "path,mask,site,split\na.nii,m/a.nii,Bern,train\nb.nii,m/b.nii,Graz,Test\n"
    assert [case.site for case in cases(tmp_path, text, "site")] == ["Bern", "Graz"]
    assert [case.splits for case in cases(tmp_path, text, "column")] == [("train",), ("test",)]
    first = cases(tmp_path, text)[0]
    assert (first.site, first.splits, first.metadata) == (None, None, {"site": "Bern", "split": "train"})
    assert "no column site" in message(cases, tmp_path, "path,mask\na.nii,b.nii\n", "site")
    assert "no column split" in message(cases, tmp_path, "path,mask\na.nii,b.nii\n", "column")


def test_cases__pattern_conflicts_with_patients_of_the_table(tmp_path):
    text = "path,mask,patient\na.nii,b.nii,P1\n"
    assert "t.csv already names the patients" in message(cases, tmp_path, text, "patient", "(a)")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("path,mask\na.nii,\nb.nii,x.nii\nc.nii, \n", "t.csv line 2, t.csv line 4: mask is empty (2 of 3 rows)"),
        ("path,mask\n,m.nii\n", "t.csv line 2: path is ''"),
        ("path,mask,patient\na.nii,m.nii,\n", "t.csv line 2: patient is ''"),
        ("path,mask\n../a.nii,m.nii\n", "is outside of data.root"),
        (
            "path,label\na.nii,m.nii\n",
            "(columns: path, label). Add --set data.columns.mask=label",
        ),
        ("path,age\na.nii,7\n", "column 'mask' is missing (columns: path, age). Add --set data.columns.mask=NAME"),
        (
            "image,mask\na.nii,m.nii\n",
            "(columns: image, mask). Add --set data.columns.path=image",
        ),
        ("path,mask,spacing\na.nii,m.nii,1x1\n", "t.csv line 2: spacing is '1x1'; expected three numbers"),
    ],
)
def test_cases__invalid_table_is_an_error(tmp_path, text, problem):
    assert problem in message(cases, tmp_path, text)


def test_columns__must_exist_and_differ(tmp_path):
    text = "path,mask,patient\na.nii,b.nii,P1\n"
    assert "data.columns.spacing=mm: t.csv has no such column" in message(cases, tmp_path, text, spacing="mm")
    assert "data.columns.mask=path: this column of t.csv is also" in message(cases, tmp_path, text, mask="path")
    assert "data.columns.mask=patient: this column" in message(cases, tmp_path, text, mask="patient")
    assert "column 'case' is missing" in message(cases, tmp_path, text, patient="case")


@pytest.mark.parametrize("cell", ["0.8x0.8x2.5", "0.8 0.8 2.5", "0.8,0.8,2.5", "(0.8, 0.8, 2.5)", "0.8 X 0.8 × 2.5;"])
def test_parse_spacing__common_spellings(cell):
    assert parse_spacing(cell, "line 2") == (0.8, 0.8, 2.5)


def test_parse_spacing__empty_cell_is_unknown():
    assert parse_spacing("  ", "line 2") is None


@pytest.mark.parametrize("cell", ["1", "1x1x0", "1x1x-2", "1x1xnan", "1x1xinf", "1x1x101", "0,5 0,5 2", "axbxc", "x"])
def test_parse_spacing__invalid_cell_is_an_error(cell):
    assert message(parse_spacing, cell, "line 2").startswith(f"line 2: spacing is {cell!r}; expected three numbers of")

import pytest
from pydantic import ValidationError

from medtune.config.errors import InputError
from medtune.data.label_params import ColumnParams
from medtune.data.sources import folder
from tests.data.sources.folder_params import params, read, table


@pytest.fixture
def root(tmp_path):
    for name in ("cat/P1_1.png", "cat/deep/P2_1.png", "dog/P3_1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_samples__have_the_label_of_the_class_folder(root):
    samples = folder.list_samples(root, params())
    assert [(sample.path, sample.label, sample.patient_id) for sample in samples] == [
        ("cat/P1_1.png", "cat", None), ("cat/deep/P2_1.png", "cat", None), ("dog/P3_1.png", "dog", None),
    ]  # fmt: skip


def test_samples__patient_is_matched_in_the_path(root):
    assert [sample.patient_id for sample in folder.list_samples(root, params(patient_pattern=r"(P\d+)_"))] == [
        "P1",
        "P2",
        "P3",
    ]
    with pytest.raises(InputError, match="finds no patient"):
        folder.list_samples(root, params(patient_pattern=r"(Q\d+)_"))


@pytest.mark.parametrize("pattern", ["(", "P[0-9]+"])
def test_params__pattern_must_have_one_group(pattern):
    with pytest.raises(ValidationError):
        params(patient_pattern=pattern)


def test_samples__labels_must_be_in_class_names(root):
    assert folder.classes(params(class_names=["dog", "cat"])) == ("dog", "cat")
    with pytest.raises(InputError, match=r"'dog' is not in data\.class_names"):
        read(root, params(class_names=["cat", "cow"]))
    with pytest.raises(ValidationError):
        params(class_names=["cat", "cat"])


def test_samples__image_outside_class_folders_is_an_error(root):
    (root / "stray.png").touch()
    with pytest.raises(InputError, match=r"stray\.png is not in a class folder"):
        folder.list_samples(root, params())


def test_samples__are_read_from_a_table(root):
    options = table(root, "\ufeffpath,label,group,age\ndog/P3_1.png,dog,P3,7\ncat/P1_1.png, cat ,P1,\n")
    first, second = folder.list_samples(root, options)
    assert (first.path, first.label, first.patient_id, first.metadata) == ("cat/P1_1.png", "cat", "P1", {"age": ""})
    assert second.metadata == {"age": "7"}
    assert folder.inputs(root, options) == [root / "labels.csv"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,label\na.png,\n", "line 2: label is ''"),
        ("path,label\ncat/P1_1.png,NaN\n", "line 2: label is 'NaN'"),
        ("path,label\na.png,  \n", "line 2: label is '  '"),
        ("path,label\n,cat\n", "line 2: path is ''"),
        ("path,label,group\na.png,cat,\n", "line 2: patient is ''"),
        ("path,label\na.png\n", "line 2: expected 2 fields"),
        ("path,label\na.png,cat,more\n", "line 2: expected 2 fields"),
        ("path,class\na.png,cat\n", r"column 'label' is missing \(columns: path, class\)"),
        ("path,label\n../a.png,cat\n", "is outside of data.root"),
        ("path,label\n/etc/a.png,cat\n", "is outside of data.root"),
        ("path,label\na.png,cat\na.png,dog\n", r"a\.png is listed twice"),
        ('path,label\na.png,"cat\n', "not a valid CSV"),
        ("path,label\n", "the table has only one line, which was read as the header"),
        ("", "data.csv=labels.csv: the file is empty"),
    ],
)
def test_samples__invalid_table_is_an_error(root, text, reason):
    with pytest.raises(InputError, match=reason):
        read(root, table(root, text))


def test_samples__missing_table_is_an_error(root):
    with pytest.raises(InputError, match=r"data\.csv=other\.csv: no such file in .*\. Write other\.csv with"):
        folder.list_samples(root, params(csv="other.csv"))
    (root / "exported.txt").write_text("path label\n")
    with pytest.raises(InputError, match=r"The folder contains exported\.txt\. Set data\.csv to one of them, or write"):
        folder.list_samples(root, params(csv="other.csv"))


def test_samples__folder_without_images_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no images"):
        folder.list_samples(tmp_path, params())


def test_samples__error_names_an_empty_class_folder(root):
    (root / "fish").mkdir()
    with pytest.raises(InputError, match=r"class folder .*fish has no images"):
        folder.list_samples(root, params())


def test_samples__table_without_patients_is_reported(root, capsys):
    folder.list_samples(root, table(root, "path,label,case\ncat/P1_1.png,cat,P1\n"))
    assert "no column patient, so no patients are known; found path, label, case" in capsys.readouterr().out


@pytest.fixture
def images(tmp_path):
    """Write six images of three patients, without a table."""
    for name in ("1.png", "2.png", "3.png", "deep/4.png", "deep/5.png", "6.PNG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_table__renamed_columns(images):
    options = table(images, "File,Diagnosis,PatientID,age\n1.png,a,P1,7\n2.png,b,P2,8\n")
    columns = ColumnParams(path="file", label="Diagnosis", patient="PatientID")
    options = options.model_copy(update={"columns": columns})
    first, _ = folder.list_samples(images, options)
    assert (first.path, first.label, first.patient_id, first.metadata) == ("1.png", "a", "P1", {"age": "7"})
    assert first.where == "labels.csv line 2"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("filename,diagnosis,x", "columns 'path' and 'label' are missing (columns: filename, diagnosis, x). Add --set "
         "data.columns.path=filename --set data.columns.label=diagnosis"),
        ("Image Index,label", "Add --set 'data.columns.path=\"Image Index\"'"),
        ("path,y", "Add --set data.columns.label=y"),
        ("a,b", "columns 'path' and 'label' are missing (columns: a, b). Name them with --set data.columns.path=NAME"),
        ('"path;label"', "(columns: path;label). The header is a single field. Separate columns by commas"),
        ("1.png,a", "Add a first line with the names of the columns"),
        ("path,label,Label", "columns 'label' and 'Label' differ only in case"),
    ],
)  # fmt: skip
def test_table__error_of_a_missing_column_names_the_option(images, header, message):
    with pytest.raises(InputError) as error:
        read(images, table(images, f"{header}\n{','.join('x' for _ in header.split(','))}\n"))
    assert message in str(error.value)


def test_table__selected_patient_column_must_exist(images):
    options = table(images, "path,label\n1.png,a\n")
    options = options.model_copy(update={"columns": ColumnParams(patient="patient")})
    with pytest.raises(InputError, match="column 'patient' is missing"):
        read(images, options)


def test_table__lines_above_the_header_are_an_error(images):
    with pytest.raises(InputError, match=r"labels\.csv line 3 looks like the header\. Remove the lines above it"):
        read(images, table(images, "Study,X\n2026,03\npath,label\n1.png,a\n"))


def test_table__similar_patient_column_is_suggested(images, capsys):
    read(images, table(images, "path,label,patient_id\n1.png,a,P1\n"))
    assert "If patient_id is the patient, add --set data.columns.patient=patient_id" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("1.PNG", "labels.csv line 2: '1.PNG' (there is '1.png')"),
        ("1", "'1' (there is '1.png')"),
        ("6.png", "'6.png' (there is '6.PNG')"),
        ("4.png", "'4.png' (there is 'deep/4.png')"),
        ("scans/5", "(there is 'deep/5.png')"),
        (
            "absent.png",
            "1 of 1 rows names a file that does not exist: labels.csv line 2: 'absent.png'. Correct the row",
        ),
    ],
)
def test_table__missing_file_is_reported_before_decoding(images, path, message):
    with pytest.raises(InputError) as error:
        read(images, table(images, f"path,label\n{path},a\n"))
    assert message in str(error.value)
    assert "--set data.on_bad_image=reject" in str(error.value) or "data.path_format=" in str(error.value)


def test_table__missing_files_are_counted(images):
    with pytest.raises(InputError, match=r"5 of 6 rows name files that do not exist: .*; and 2 more"):
        read(images, table(images, "path,label\n1.png,a\n" + "".join(f"x{n}.png,a\n" for n in range(5))))


def test_table__error_lists_the_lines_of_empty_cells(images):
    with pytest.raises(InputError) as error:
        read(images, table(images, "path,label,group\n1.png,a,\n2.png,,P1\n,a,P1\n3.png,a,\n"))
    message = str(error.value)
    assert "labels.csv line 2, labels.csv line 5: patient is ''; labels.csv line 3: label is ''" in message
    assert "labels.csv line 4: path is ''" in message


def test_table__file_names_match_in_any_unicode_form(images):
    (images / "Mu\u0308ller.png").touch()
    (sample,) = read(images, table(images, "path,label\nM\u00fcller.png,a\n"))
    assert sample.path == "M\u00fcller.png"
    assert sample.file == images / "Mu\u0308ller.png"
    with pytest.raises(InputError, match=r"listed twice in labels\.csv: labels\.csv line 2 and labels\.csv line 3"):
        read(images, table(images, "path,label\nM\u00fcller.png,a\nMu\u0308ller.png,a\n"))


def test_table__labels_are_mapped(images):
    options = table(images, "path,label\n1.png,Benign\n2.png,benign\n3.png,malignant\n")
    with pytest.raises(InputError, match=r"data\.label_map"):
        read(images, options)
    mapped = options.model_copy(update={"label_map": {"Benign": "benign"}})
    assert [sample.label for sample in read(images, mapped)] == ["benign", "benign", "malignant"]
    with pytest.raises(InputError, match="no image has label 'Bengin'; labels are Benign, benign, malignant"):
        read(images, options.model_copy(update={"label_map": {"Bengin": "benign"}}))


def test_table__patients_from_a_pattern_are_checked(images):
    for name in ("P1_1.png", "p1_2.png"):
        (images / name).touch()
    options = table(images, "path,label\nP1_1.png,a\np1_2.png,b\n")
    with pytest.raises(InputError, match=r"'P1' .* and 'p1'"):
        read(images, options.model_copy(update={"patient_pattern": "([Pp][0-9]+)_"}))


def test_table__cell_with_several_lines_is_an_error(images):
    with pytest.raises(InputError, match=r"line 2: label is 'a\\nb': expected one line"):
        read(images, table(images, 'path,label\n1.png,"a\nb"\n'))


def test_table__cannot_be_combined_with_split_folders(images):
    options = params(csv="labels.csv", split={"protocol": "folders"})
    with pytest.raises(InputError, match=r"data\.split\.protocol=folders: data\.csv"):
        folder.list_samples(images, options)


def test_masks__are_an_error_or_left_out_or_used(tmp_path):
    for name in ("a/x (1).png", "a/x (1)_mask.png", "b/y.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(InputError) as error:
        read(tmp_path, params())
    assert "1 of 3 images look like masks of others, for example a/x (1)_mask.png" in str(error.value)
    assert "--set data.masks=leave_out" in str(error.value)
    assert len(read(tmp_path, params(masks="leave_out"))) == 2
    assert len(read(tmp_path, params(masks="use"))) == 3


def test_folders__split_folders_are_published_splits(tmp_path):
    for name in ("train/a/1.png", "train/b/1.png", "test/a/2.png", "val/b/3.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    samples = read(tmp_path, params(split={"protocol": "folders"}))
    assert [(sample.label, sample.published_splits) for sample in samples] == [
        ("a", ("test",)), ("a", ("train",)), ("b", ("train",)), ("b", ("val",)),
    ]  # fmt: skip


def test_table__absolute_paths_in_the_root(images):
    (sample,) = read(images, table(images, f"path,label\n{images}/deep/4.png,a\n"))
    assert sample.path == "deep/4.png"


@pytest.mark.parametrize(
    ("paths", "pattern"),
    [(("1", "2", "3"), "'data.path_format=\"{path}.png\"'"), (("4.png", "5.png"), "'data.path_format=\"deep/{path}\"'"),
     (("4", "5"), "'data.path_format=\"deep/{path}.png\"'")],
)  # fmt: skip
def test_table__path_format_is_suggested(images, paths, pattern):
    options = table(images, "path,label\n" + "".join(f"{path},a\n" for path in paths))
    with pytest.raises(InputError) as error:
        read(images, options)
    assert f"Complete the paths with --set {pattern}" in str(error.value)
    value = pattern.split('"')[1]
    assert len(read(images, options.model_copy(update={"path_format": value}))) == len(paths)


def test_table__paths_without_common_format_are_an_error(images):
    with pytest.raises(InputError, match="Correct the rows"):
        read(images, table(images, "path,label\n1,a\n4,a\n"))


@pytest.mark.parametrize("text", ["x.png", "{path}{path}", ""])
def test_params__path_format_contains_the_path_once(text):
    with pytest.raises(ValidationError, match=r"must contain \{path\} exactly once"):
        params(path_format=text)

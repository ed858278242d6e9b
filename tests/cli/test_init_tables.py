"""Detection of tables in `medtune init`."""

from pathlib import Path

import openpyxl

from medtune.cli.main import call
from medtune.config import load
from medtune.data.sources import folder
from tests.cli.init_project import images, init, table


def test_init__table_with_patients(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    table(root, "path", "label", "group", rows=20)
    result = init(tmp_path / "project", root, capsys)
    assert result["found"]["patients"] == "10, in column group"
    assert result["settings"]["data.csv"] == "labels.csv"
    assert result["warnings"] == []


def test_init__data_is_a_table(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    table(root, "path", "label", "group", rows=20)
    (root / "a_first.csv").write_bytes((root / "labels.csv").read_bytes())
    result = init(tmp_path / "project", root / "labels.csv", capsys)
    assert (result["settings"]["data.csv"], result["settings"]["data.root"]) == ("labels.csv", str(root))
    assert result["warnings"] == []
    (root / "other.csv").write_text("width,height\n1,2\n")
    assert call(["init", str(tmp_path / "second"), "--data", str(root / "other.csv")]) == 2
    assert "other.csv: columns 'path' and 'label' are missing (columns: width, height)" in capsys.readouterr().err


def test_init__columns_with_custom_names(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"pat{n % 4:02}_{n}.png" for n in range(20)))
    rows = [f"pat{n % 4:02}_{n},{'ab'[n % 2]},C{n // 2},{'MF'[n % 2]}" for n in range(20)]
    (root / "cases.csv").write_text("\n".join(["Slide file,Diagnosis,Case no.,Sex", *rows]))
    result = init(tmp_path / "project", root, capsys)
    assert result["settings"]["data.columns.path"] == "Slide file"
    assert result["settings"]["data.path_format"] == "{path}.png"
    assert "column 'Case no.' may contain patient ids" in result["warnings"][0]
    assert "medtune params set 'data.columns.patient=Case no.'" in result["next"]
    assert not any("patient_pattern" in command for command in result["next"])


def test_init__missing_label_column_is_among_the_next_commands(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    rows = [f"{n}.png,{'ab'[n % 2]},{n // 2}" for n in range(20)]
    (root / "labels.csv").write_text("\n".join(["path,grade,ward", *rows]))
    result = init(tmp_path / "project", root, capsys, None)
    assert "medtune params set data.columns.label=NAME" in result["next"]
    assert "if one of the columns ward contains patient ids" in " ".join(result["warnings"])


def test_init__warns_about_classes_that_differ_in_spelling(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    rows = [f"{n}.png,{['benign', 'Benign', 'malignant', 'Malignant '][n % 4]},p{n // 2}" for n in range(20)]
    (root / "labels.csv").write_text("\n".join(["path,label,group", *rows]))
    assert call(["init", str(tmp_path / "project"), "--data", str(root)]) == 2
    assert "the images have two classes, Benign and Malignant." in capsys.readouterr().err
    result = init(tmp_path / "project", root, capsys, "malignant")
    assert result["settings"]["data.positive"] == "malignant"
    assert result["warnings"][0].startswith("classes 'Benign' and 'benign' differ in case")


def test_init__table_with_other_column_names(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    table(root, "filename", "diagnosis", "patient_id", rows=20)
    result = init(tmp_path / "project", root, capsys)
    assert result["warnings"] == []
    assert result["found"]["patients"] == "10, in column patient_id"
    params = load.validate(load.read(tmp_path / "project" / "params.yaml")).data
    columns = params.columns.model_dump(exclude_none=True)
    assert columns == {"path": "filename", "label": "diagnosis", "patient": "patient_id"}
    assert len(folder.list_samples(root, params)) == 20


def listed_findings(project: Path, root: Path) -> list[tuple[str, ...] | None]:
    params = load.validate(load.read(project / "params.yaml"))
    assert params.task.kind == "multilabel"
    return [sample.findings for sample in folder.list_samples(root, params.data)]


def test_init__table_with_a_column_per_finding(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    lines = ["image,patient,sex,mass,edema", *(f"{n}.png,P{n // 2},{n % 2},{n % 2},{int(n > 9)}" for n in range(20))]
    (root / "labels.csv").write_text("\n".join(lines))
    result = init(tmp_path / "project", root, capsys, None)
    assert result["warnings"] == []
    assert result["found"]["findings"] == "mass 10, edema 10; several per image"
    findings = listed_findings(tmp_path / "project", root)
    assert (findings[0], findings[1]) == ((), ("mass",))


def test_init__findings_have_no_positive_class(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(8)))
    lines = ["image,patient,mass,edema", *(f"{n}.png,P{n // 2},{n % 2},{int(n > 3)}" for n in range(8))]
    (root / "labels.csv").write_text("\n".join(lines))
    assert call(["init", str(tmp_path / "project"), "--data", str(root), "--positive", "mass"]) == 2
    assert "--positive=mass: it needs two classes, but there are several findings" in capsys.readouterr().err
    assert not (tmp_path / "project").exists()


def test_init__table_with_lists_of_findings(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    cells = ["Mass|Edema", "Mass", "Edema", "normal"]
    lines = ["Image Index,Finding Labels,Patient ID", *(f"{n}.png,{cells[n % 4]},{n // 2}" for n in range(20))]
    (root / "Data_Entry_2017.csv").write_text("\n".join(lines))
    assert init(tmp_path / "project", root, capsys, None)["warnings"] == []
    findings = listed_findings(tmp_path / "project", root)
    assert findings[:2] == [("Mass", "Edema"), ("Mass",)]
    assert findings.count(()) == 5


def test_init__table_of_excel_in_europe(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    lines = ["File;Class;Patient", *(f"{n}.png;{'ab'[n % 2]};M\u00fcller {n // 2}" for n in range(20))]
    (root / "labels.csv").write_text("\n".join(lines), "cp1252")
    result = init(tmp_path / "project", root, capsys)
    assert result["found"]["patients"] == "10, in column Patient"
    assert "Windows-1252" in result["found"]["note"]
    assert result["settings"]["data.columns.path"] == "File"


def test_init__workbook(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    book = openpyxl.Workbook()
    for row in [("image", "label", "group"), *((f"{n}.png", "ab"[n % 2], n // 2) for n in range(20))]:
        book.active.append(row)
    book.save(root / "labels.xlsx")
    result = init(tmp_path / "project", root, capsys)
    assert result["settings"]["data.csv"] == "labels.xlsx"
    assert result["found"]["patients"] == "10, in column group"


def test_init__unreadable_table_is_named(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{label}/{n}.png" for label in "ab" for n in range(3)))
    (root / "labels.csv").write_text("path,label,label\na/0.png,a,b\n")
    result = init(tmp_path / "project", root, capsys)
    assert "labels.csv: duplicate column label" in result["warnings"][0]
    assert "a 3, b 3" in result["found"]["classes"]


def test_init__table_with_paths_without_folder_and_extension(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"jpg/{n}.jpg" for n in range(20)))
    rows = "".join(f"{n},{'ab'[n % 2]},P{n // 2}\n" for n in range(20))
    (root / "labels.csv").write_text("image_id,dx,patient_id\n" + rows)
    result = init(tmp_path / "project", root, capsys)
    assert result["settings"]["data.path_format"] == "jpg/{path}.jpg"
    params = load.validate(load.read(tmp_path / "project" / "params.yaml")).data
    assert len(folder.list_samples(root, params)) == 20


def test_init__several_tables_are_named(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    table(root, "path", "label", "group", rows=20)
    (root / "all.csv").write_text("path,label\n1.png,a\n2.png,b\n")
    (root / "~$labels.xlsx").write_bytes(b"open in Excel")
    result = init(tmp_path / "project", root, capsys)
    assert result["warnings"][0] == "all.csv is used, but labels.csv could also be the table. Set data.csv"
    assert not any("~$" in warning for warning in result["warnings"])


def test_init__invalid_table_next_to_loose_images_is_selected(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(6)))
    (root / "labels.csv").write_text("path,label,label\n0.png,a,b\n")
    result = init(tmp_path / "project", root, capsys)
    assert result["settings"]["data.csv"] == "labels.csv"
    assert not any("no table" in warning for warning in result["warnings"])

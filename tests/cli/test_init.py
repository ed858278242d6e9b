"""`medtune init`: what it detects in real folders, and the project that it writes."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from PIL import Image

from medtune.cli.main import call
from medtune.config import load
from medtune.config.project import PROJECT
from medtune.data.sources import folder
from tests.serving.test_dicom import write

WITHOUT = ("torch", "timm", "peft", "prefect", "wandb", "dvc", "onnx", "sklearn", "scipy", "matplotlib", "imagehash",
           "safetensors", "accelerate", "jinja2", "psutil", "httpx", "fsspec")  # fmt: skip
BASE_ONLY = f"""
import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
class BaseOnly(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {WITHOUT!r} else PathFinder.find_spec(name, path, target)
sys.meta_path = [BuiltinImporter, FrozenImporter, BaseOnly]
from medtune.cli.main import main
main()
"""


def images(root: Path, *paths: str, side: int = 40) -> Path:
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, side + 8), (number * 7 % 256, number * 31 % 256, 40)).save(root / path)
    return root


def table(root: Path, *columns: str, rows: int) -> None:
    with (root / "labels.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([(f"{n}.png", "ab"[n % 2], f"P{n // 2}")[: len(columns)] for n in range(rows)])


def init(project: Path, data: Path, capsys: pytest.CaptureFixture[str], positive: str | None = "b") -> dict[str, Any]:
    words = [] if positive is None else ["--positive", positive]
    assert call(["init", str(project), "--data", str(data), "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_init__class_folders_and_a_pattern_of_patients(tmp_path, capsys):
    paths = [f"{label}/P{patient}_{n}.png" for label in ("benign", "malignant") for patient in range(6) for n in (0, 1)]
    found = init(tmp_path / "project", images(tmp_path / "scans", *paths), capsys, "malignant")
    assert found["settings"]["data.source"] == "folder"
    assert "benign 12, malignant 12" in found["found"]["classes"]
    assert found["found"]["image size"].startswith("40x48")
    assert "6 ids look like patients" in found["warnings"][0]
    assert found["next"][1] == "git init && dvc init"  # `dvc repro` needs both
    assert found["next"][2].startswith("medtune params set 'data.group_pattern=")
    params = load.validate(load.read(tmp_path / "project" / "params.yaml"))
    assert (params.data.source, params.data.root, params.data.image_size) == ("folder", str(tmp_path / "scans"), 32)
    assert params.data.group_pattern is None  # only suggested
    assert "# staged" not in (tmp_path / "project" / "params.yaml").read_text()
    assert "# epochs without a better score" in (tmp_path / "project" / "params.yaml").read_text()


def test_init__split_folders_are_not_taken_for_classes(tmp_path, capsys):
    paths = [f"{split}/{label}/{n}.png" for split in ("train", "test") for label in ("a", "b") for n in range(3)]
    found = init(tmp_path / "project", images(tmp_path / "scans", *paths), capsys)
    assert found["found"]["classes"] == "one folder per class in each: a 6, b 6"
    assert found["found"]["splits"] == "train 6, val 0, test 6, from the folders"
    assert found["settings"]["data.split.protocol"] == "folders"
    assert load.validate(load.read(tmp_path / "project" / "params.yaml")).data.split.protocol == "folders"


def test_init__table_with_patients(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    table(root, "path", "label", "group", rows=20)
    found = init(tmp_path / "project", root, capsys)
    assert found["found"]["patients"] == "10, in the column group"
    assert found["settings"]["data.csv"] == "labels.csv"
    assert found["warnings"] == []


def test_init__a_table_can_be_named_itself(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    table(root, "path", "label", "group", rows=20)
    (root / "a_first.csv").write_bytes((root / "labels.csv").read_bytes())
    found = init(tmp_path / "project", root / "labels.csv", capsys)
    assert (found["settings"]["data.csv"], found["settings"]["data.root"]) == ("labels.csv", str(root))
    assert found["warnings"] == []
    (root / "other.csv").write_text("width,height\n1,2\n")
    assert call(["init", str(tmp_path / "second"), "--data", str(root / "other.csv")]) == 2
    assert "other.csv: no column path or label; columns: width, height" in capsys.readouterr().err


def test_init__columns_under_names_of_their_own(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"pat{n % 4:02}_{n}.png" for n in range(20)))
    rows = [f"pat{n % 4:02}_{n},{'ab'[n % 2]},C{n // 2},{'MF'[n % 2]}" for n in range(20)]
    (root / "cases.csv").write_text("\n".join(["Slide file,Diagnosis,Case no.,Sex", *rows]))
    found = init(tmp_path / "project", root, capsys)
    assert found["settings"]["data.columns.path"] == "Slide file"
    assert found["settings"]["data.path_format"] == "{path}.png"
    assert "the column 'Case no.' may name them" in found["warnings"][0]
    assert "medtune params set 'data.columns.group=Case no.'" in found["next"]
    assert not any("group_pattern" in command for command in found["next"])


def test_init__a_missing_label_column_is_among_the_next_commands(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    rows = [f"{n}.png,{'ab'[n % 2]},{n // 2}" for n in range(20)]
    (root / "labels.csv").write_text("\n".join(["path,grade,ward", *rows]))
    found = init(tmp_path / "project", root, capsys, None)
    assert "medtune params set data.columns.label=NAME" in found["next"]
    assert "if one of the columns ward names the patients" in " ".join(found["warnings"])


def test_init__classes_that_differ_in_spelling_are_warned_about(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    rows = [f"{n}.png,{['benign', 'Benign', 'malignant', 'Malignant '][n % 4]},p{n // 2}" for n in range(20)]
    (root / "labels.csv").write_text("\n".join(["path,label,group", *rows]))
    assert call(["init", str(tmp_path / "project"), "--data", str(root)]) == 2
    assert "the images have two classes, Benign and Malignant." in capsys.readouterr().err
    found = init(tmp_path / "project", root, capsys, "malignant")
    assert found["settings"]["data.positive"] == "malignant"
    assert found["warnings"][0].startswith("classes 'Benign' and 'benign' differ in case")


def test_init__table_with_other_column_names(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    table(root, "filename", "diagnosis", "patient_id", rows=20)
    found = init(tmp_path / "project", root, capsys)
    assert found["warnings"] == []
    assert found["found"]["patients"] == "10, in the column patient_id"
    params = load.validate(load.read(tmp_path / "project" / "params.yaml")).data
    chosen = params.columns.model_dump(exclude_none=True)
    assert chosen == {"path": "filename", "label": "diagnosis", "group": "patient_id"}
    assert len(folder.list_samples(root, params)) == 20


def findings_of(project: Path, root: Path) -> list[tuple[str, ...] | None]:
    chosen = load.validate(load.read(project / "params.yaml"))
    assert chosen.task.kind == "multilabel"
    return [sample.findings for sample in folder.list_samples(root, chosen.data)]


def test_init__table_with_a_column_per_finding(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    lines = ["image,patient,sex,mass,edema", *(f"{n}.png,P{n // 2},{n % 2},{n % 2},{int(n > 9)}" for n in range(20))]
    (root / "labels.csv").write_text("\n".join(lines))
    found = init(tmp_path / "project", root, capsys, None)
    assert found["warnings"] == []
    assert found["found"]["findings"] == "mass 10, edema 10; an image may show several"
    shown = findings_of(tmp_path / "project", root)
    assert (shown[0], shown[1]) == ((), ("mass",))


def test_init__findings_have_no_positive_class(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(8)))
    lines = ["image,patient,mass,edema", *(f"{n}.png,P{n // 2},{n % 2},{int(n > 3)}" for n in range(8))]
    (root / "labels.csv").write_text("\n".join(lines))
    assert call(["init", str(tmp_path / "project"), "--data", str(root), "--positive", "mass"]) == 2
    assert "--positive=mass: only one of two classes can be positive; found several findings" in capsys.readouterr().err
    assert not (tmp_path / "project").exists()


def test_init__table_with_lists_of_findings(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    cells = ["Mass|Edema", "Mass", "Edema", "normal"]
    lines = ["Image Index,Finding Labels,Patient ID", *(f"{n}.png,{cells[n % 4]},{n // 2}" for n in range(20))]
    (root / "Data_Entry_2017.csv").write_text("\n".join(lines))
    assert init(tmp_path / "project", root, capsys, None)["warnings"] == []
    shown = findings_of(tmp_path / "project", root)
    assert shown[:2] == [("Mass", "Edema"), ("Mass",)]
    assert shown.count(()) == 5


def test_init__chestmnist(tmp_path, capsys):
    root = tmp_path / "scans"
    root.mkdir()
    arrays = {"images": np.zeros((4, 28, 28), np.uint8), "labels": np.eye(14, dtype=np.uint8)[:4]}
    parts = {f"{part}_{name}": array for part in ("train", "val", "test") for name, array in arrays.items()}
    np.savez(root / "chestmnist.npz", **parts)
    found = init(tmp_path / "project", root, capsys, None)
    assert found["warnings"] == []
    params = load.validate(load.read(tmp_path / "project" / "params.yaml"))
    assert (params.task.kind, params.data.subset, params.data.split.protocol) == (
        "multilabel",
        "chestmnist",
        "official",
    )


def test_init__table_of_excel_in_europe(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    lines = ["File;Class;Patient", *(f"{n}.png;{'ab'[n % 2]};M\u00fcller {n // 2}" for n in range(20))]
    (root / "labels.csv").write_text("\n".join(lines), "cp1252")
    found = init(tmp_path / "project", root, capsys)
    assert found["found"]["patients"] == "10, in the column Patient"
    assert "Windows-1252" in found["found"]["note"]
    assert found["settings"]["data.columns.path"] == "File"


def test_init__workbook(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    book = openpyxl.Workbook()
    for row in [("image", "label", "group"), *((f"{n}.png", "ab"[n % 2], n // 2) for n in range(20))]:
        book.active.append(row)
    book.save(root / "labels.xlsx")
    found = init(tmp_path / "project", root, capsys)
    assert found["settings"]["data.csv"] == "labels.xlsx"
    assert found["found"]["patients"] == "10, in the column group"


def test_init__a_table_that_cannot_be_read_is_named(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{label}/{n}.png" for label in "ab" for n in range(3)))
    (root / "labels.csv").write_text("path,label,label\na/0.png,a,b\n")
    found = init(tmp_path / "project", root, capsys)
    assert "labels.csv: column label is there twice" in found["warnings"][0]
    assert "a 3, b 3" in found["found"]["classes"]


def test_init__a_table_without_folder_and_extension(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"jpg/{n}.jpg" for n in range(20)))
    rows = "".join(f"{n},{'ab'[n % 2]},P{n // 2}\n" for n in range(20))
    (root / "labels.csv").write_text("image_id,dx,patient_id\n" + rows)
    found = init(tmp_path / "project", root, capsys)
    assert found["settings"]["data.path_format"] == "jpg/{path}.jpg"
    params = load.validate(load.read(tmp_path / "project" / "params.yaml")).data
    assert len(folder.list_samples(root, params)) == 20


def test_init__several_tables_are_named(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(20)))
    table(root, "path", "label", "group", rows=20)
    (root / "all.csv").write_text("path,label\n1.png,a\n2.png,b\n")
    (root / "~$labels.xlsx").write_bytes(b"open in Excel")
    found = init(tmp_path / "project", root, capsys)
    assert found["warnings"][0] == "all.csv is used; labels.csv could be meant too. Set data.csv to the right one"
    assert not any("~$" in warning for warning in found["warnings"])


def test_init__a_broken_table_beside_loose_images_is_kept(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{n}.png" for n in range(6)))
    (root / "labels.csv").write_text("path,label,label\n0.png,a,b\n")
    found = init(tmp_path / "project", root, capsys)
    assert found["settings"]["data.csv"] == "labels.csv"
    assert not any("no table" in warning for warning in found["warnings"])


def test_init__names_that_are_not_utf8(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{label}/{n}.png" for label in "ab" for n in range(6)))
    os.rename(root / "a" / "0.png", os.fsencode(root) + b"/a/k\xf6.png")
    found = init(tmp_path / "project", root, capsys)
    assert found["warnings"][0] == r"1 images have names that are not valid UTF-8: a/k\xf6.png. Rename them"


def test_init__splits_one_folder_deeper(tmp_path, capsys):
    paths = [f"chest/{split}/{label}/{n}.png" for split in ("train", "test") for label in "ab" for n in range(2)]
    root = images(tmp_path / "scans", *paths)
    found = init(tmp_path / "project", root, capsys)
    assert f"--data {root / 'chest'}" in found["warnings"][0]


@pytest.mark.parametrize(
    ("classes", "words", "message"),
    [
        ("ab", [], "two classes, a and b. Name the one that sensitivity is about: --positive a or --positive b"),
        (["no finding", "x"], [], "--positive 'no finding' or --positive x"),
        ("ab", ["--positive", "c"], "--positive=c: no such class. Classes: a, b"),
        ("abc", ["--positive", "a"], "only one of two classes can be positive; found 3 classes"),
    ],
)
def test_init__positive_class_is_never_guessed(tmp_path, capsys, classes, words, message):
    root = images(tmp_path / "scans", *(f"{label}/{n}.png" for label in classes for n in range(3)))
    assert call(["init", str(tmp_path / "project"), "--data", str(root), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "project").exists()


def test_init__positive_class_is_written(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{label}/{n}.png" for label in ("cancer", "normal") for n in range(3)))
    found = init(tmp_path / "project", root, capsys, "cancer")
    assert found["found"]["positive"].startswith("cancer: ")
    assert load.validate(load.read(tmp_path / "project" / "params.yaml")).data.positive == "cancer"


def test_init__three_classes_need_no_positive(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{label}/{n}.png" for label in "abc" for n in range(3)))
    assert "data.positive" not in init(tmp_path / "project", root, capsys, None)["settings"]


def test_init__breakhis_names(tmp_path, capsys):
    names = [
        f"SOB_{kind}-14-{case}-{zoom}-001.png" for kind in ("B_A", "M_DC") for case in (101, 102) for zoom in (40, 200)
    ]
    names.append("SOB_B_F-14-103-200-001.png")
    found = init(tmp_path / "project", images(tmp_path / "scans", *names), capsys, None)
    assert found["settings"] == {
        "data.source": "breakhis", "data.labels": "binary", "data.magnification": 200,
        "data.root": str(tmp_path / "scans"),
    }  # fmt: skip
    assert found["found"]["patients"].startswith("3,")


def test_init__medmnist(tmp_path, capsys):
    arrays = {f"{part}_{what}": np.zeros((4, 28, 28) if what == "images" else (4, 1), np.uint8)
              for part in ("train", "val", "test") for what in ("images", "labels")}  # fmt: skip
    (tmp_path / "sets").mkdir()
    np.savez(tmp_path / "sets" / "breastmnist.npz", **arrays)
    settings = init(tmp_path / "project", tmp_path / "sets", capsys, None)["settings"]
    assert (settings["data.source"], settings["data.subset"], settings["data.size"]) == ("medmnist", "breastmnist", 28)
    assert (settings["data.split.protocol"], settings["data.split.test_fold"]) == ("official", 0)


@pytest.mark.parametrize(
    ("prepare", "words", "said"),
    [
        (lambda root: (root / "params.yaml").write_text("seed: 1\n"), [], "--force"),
        (lambda root: images(root, "a/1.png", "b/2.png"), [], "2 folders hold images (a, b)"),
        (lambda root: None, ["--data", "absent"], "--data=absent: no such folder"),
        (lambda root: (root / "empty").mkdir(), ["--data", "empty"], "no images"),
        (lambda root: images(root, "a/1.png"), ["--data", "a/1.png"], "--data=a/1.png: a file that is not a table"),
        (lambda root: images(root, "a/1.png"), ["--data", "."], "Use another project folder"),
    ],
    ids=["exists", "classes-here", "absent", "empty", "image", "inside"],
)
def test_init__refuses_in_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys, prepare, words, said):
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert call(["init", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert sorted(tmp_path.rglob("*")) == before


def test_init__works_with_the_base_dependencies_beside_folders_of_the_same_names(tmp_path):
    """The commands that it prints must work in the folder too, which has its own models/ and config/."""
    for name in ("models", "config"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong package')\n")
    images(tmp_path / "scans", *(f"{label}/case{n}-{k}.png" for label in "ab" for n in range(5) for k in (1, 2)))
    environment = {name: value for name, value in os.environ.items() if name != "MEDTUNE_PROJECT"}

    def start(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", BASE_ONLY, *words]
        inherited = {**environment, "PYTHONPATH": str(PROJECT)}
        return subprocess.run(command, cwd=tmp_path, env=inherited, capture_output=True, text=True, check=False)

    def run(*words: str) -> str:
        done = start(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    out = run("init", "--positive", "b")
    assert "10 in" not in out
    assert 'pip install "medtune[train]"' in out
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [".gitignore", "params.yaml"]
    pattern = next(line.strip() for line in out.splitlines() if "group_pattern=" in line)
    run(*shlex.split(pattern)[1:])
    assert "group_pattern" in run("params", "show", "data")
    assert run("params", "check") == "params: valid\n"
    assert "scans" in run("params", "show", "data.root")
    assert "data" in run("status")
    for words in (["doctor"], ["data"], ["benchmark"], ["services", "status"]):
        done = start(*words)
        assert done.returncode == 2
        assert re.fullmatch(r'error: \w+ is not installed. Run pip install "medtune\[train\]"\n', done.stderr)


def test_init__with_dvc_the_pipeline_depends_on_no_source_file(tmp_path, capsys):
    assert call(["init", str(tmp_path / "project"), "--dvc"]) == 0
    project = tmp_path / "project"
    deps = [path for stage in load.read(project / "dvc.yaml")["stages"].values() for path in stage["deps"]]
    assert deps == ["data/folds.csv", "${data.root}", "data/prepared"]
    root = load.read(project / "params.yaml")["data"]["root"]
    assert (project / root).is_dir()
    assert "built-in synthetic set" in capsys.readouterr().out


def test_init__dicom_folder_has_its_patients_and_sizes(tmp_path, capsys):
    for number in range(12):
        folder = tmp_path / "scans" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        file = write(folder, np.zeros((40, 48), np.uint8), PatientID=f"p{number // 2}")
        file.rename(file.with_suffix("") if number % 3 == 0 else file)
    (tmp_path / "scans" / "a" / "damaged.dcm").write_bytes(b"x" * 200)
    found = init(tmp_path / "project", tmp_path / "scans", capsys)
    assert found["found"]["images"].startswith("13 ")
    assert found["found"]["image size"].startswith("48x40")
    assert [w for w in found["warnings"] if "cannot be read as an image" in w] == [
        "a/damaged.dcm: cannot be read as an image. `medtune data` names every such file"
    ]
    (tmp_path / "scans" / "a" / "damaged.dcm").unlink()
    again = init(tmp_path / "other", tmp_path / "scans", capsys)
    assert again["found"]["patients"] == "6, from PatientID in the DICOM files"
    assert again["warnings"] == []

"""Detection of image folders in `medtune init`, and the project that it writes."""

import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

from medtune.cli.main import call
from medtune.config import load
from medtune.config.project import PROJECT
from tests.cli.init_project import images, init
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


def test_init__class_folders_and_a_patient_pattern(tmp_path, capsys):
    paths = [f"{label}/P{patient}_{n}.png" for label in ("benign", "malignant") for patient in range(6) for n in (0, 1)]
    result = init(tmp_path / "project", images(tmp_path / "scans", *paths), capsys, "malignant")
    assert result["settings"]["data.source"] == "folder"
    assert "benign 12, malignant 12" in result["found"]["classes"]
    assert result["found"]["image size"].startswith("40x48")
    assert "6 possible patient ids" in result["warnings"][0]
    assert result["next"][1] == "git init && dvc init"  # `dvc repro` needs both
    assert result["next"][2].startswith("medtune params set 'data.patient_pattern=")
    params = load.validate(load.read(tmp_path / "project" / "params.yaml"))
    assert (params.data.source, params.data.root, params.data.image_size) == ("folder", str(tmp_path / "scans"), 32)
    assert params.data.patient_pattern is None  # only suggested
    assert "# staged" not in (tmp_path / "project" / "params.yaml").read_text()
    assert "# epochs without a better score" in (tmp_path / "project" / "params.yaml").read_text()


def test_init__split_folders_are_not_classes(tmp_path, capsys):
    paths = [f"{split}/{label}/{n}.png" for split in ("train", "test") for label in ("a", "b") for n in range(3)]
    result = init(tmp_path / "project", images(tmp_path / "scans", *paths), capsys)
    assert result["found"]["classes"] == "one folder per class in each: a 6, b 6"
    assert result["found"]["splits"] == "train 6, val 0, test 6, from the folders"
    assert result["settings"]["data.split.protocol"] == "folders"
    assert load.validate(load.read(tmp_path / "project" / "params.yaml")).data.split.protocol == "folders"


def test_init__chestmnist(tmp_path, capsys):
    root = tmp_path / "scans"
    root.mkdir()
    arrays = {"images": np.zeros((4, 28, 28), np.uint8), "labels": np.eye(14, dtype=np.uint8)[:4]}
    parts = {f"{part}_{name}": array for part in ("train", "val", "test") for name, array in arrays.items()}
    np.savez(root / "chestmnist.npz", **parts)
    result = init(tmp_path / "project", root, capsys, None)
    assert result["warnings"] == []
    params = load.validate(load.read(tmp_path / "project" / "params.yaml"))
    assert (params.task.kind, params.data.subset, params.data.split.protocol) == (
        "multilabel",
        "chestmnist",
        "official",
    )


def test_init__names_that_are_not_utf8(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{label}/{n}.png" for label in "ab" for n in range(6)))
    os.rename(root / "a" / "0.png", os.fsencode(root) + b"/a/k\xf6.png")
    result = init(tmp_path / "project", root, capsys)
    assert result["warnings"][0] == r"1 images have names that are not valid UTF-8: a/k\xf6.png. Rename them"


def test_init__splits_one_folder_deeper(tmp_path, capsys):
    paths = [f"chest/{split}/{label}/{n}.png" for split in ("train", "test") for label in "ab" for n in range(2)]
    root = images(tmp_path / "scans", *paths)
    result = init(tmp_path / "project", root, capsys)
    assert f"--data {root / 'chest'}" in result["warnings"][0]


@pytest.mark.parametrize(
    ("classes", "arguments", "message"),
    [
        ("ab", [], "two classes, a and b. Name the one that sensitivity refers to: --positive a or --positive b"),
        (["no finding", "x"], [], "--positive 'no finding' or --positive x"),
        ("ab", ["--positive", "c"], "--positive=c: unknown class. Classes: a, b"),
        ("abc", ["--positive", "a"], "--positive=a: it needs two classes, but there are 3 classes"),
    ],
)
def test_init__positive_class_is_never_guessed(tmp_path, capsys, classes, arguments, message):
    root = images(tmp_path / "scans", *(f"{label}/{n}.png" for label in classes for n in range(3)))
    assert call(["init", str(tmp_path / "project"), "--data", str(root), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "project").exists()


def test_init__positive_class_is_written(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{label}/{n}.png" for label in ("cancer", "normal") for n in range(3)))
    result = init(tmp_path / "project", root, capsys, "cancer")
    assert result["found"]["positive"].startswith("cancer, ")
    assert load.validate(load.read(tmp_path / "project" / "params.yaml")).data.positive == "cancer"


def test_init__three_classes_need_no_positive(tmp_path, capsys):
    root = images(tmp_path / "scans", *(f"{label}/{n}.png" for label in "abc" for n in range(3)))
    assert "data.positive" not in init(tmp_path / "project", root, capsys, None)["settings"]


def test_init__breakhis_names(tmp_path, capsys):
    names = [
        f"SOB_{kind}-14-{case}-{zoom}-001.png" for kind in ("B_A", "M_DC") for case in (101, 102) for zoom in (40, 200)
    ]
    names.append("SOB_B_F-14-103-200-001.png")
    result = init(tmp_path / "project", images(tmp_path / "scans", *names), capsys, None)
    assert result["settings"] == {
        "data.source": "breakhis", "data.labels": "binary", "data.magnification": 200,
        "data.root": str(tmp_path / "scans"),
    }  # fmt: skip
    assert result["found"]["patients"].startswith("3,")


def test_init__medmnist(tmp_path, capsys):
    arrays = {f"{part}_{name}": np.zeros((4, 28, 28) if name == "images" else (4, 1), np.uint8)
              for part in ("train", "val", "test") for name in ("images", "labels")}  # fmt: skip
    (tmp_path / "sets").mkdir()
    np.savez(tmp_path / "sets" / "breastmnist.npz", **arrays)
    settings = init(tmp_path / "project", tmp_path / "sets", capsys, None)["settings"]
    assert (settings["data.source"], settings["data.subset"], settings["data.size"]) == ("medmnist", "breastmnist", 28)
    assert (settings["data.split.protocol"], settings["data.split.test_fold"]) == ("official", 0)


@pytest.mark.parametrize(
    ("prepare", "arguments", "message"),
    [
        (lambda root: (root / "params.yaml").write_text("seed: 1\n"), [], "--force"),
        (lambda root: images(root, "a/1.png", "b/2.png"), [], "2 folders contain images (a, b)"),
        (lambda root: None, ["--data", "absent"], "--data=absent: no such folder"),
        (lambda root: (root / "empty").mkdir(), ["--data", "empty"], "no images"),
        (lambda root: images(root, "a/1.png"), ["--data", "a/1.png"], "--data=a/1.png: the file is not a table"),
        (lambda root: images(root, "a/1.png"), ["--data", "."], "Use another project folder"),
    ],
    ids=["exists", "classes-here", "absent", "empty", "image", "inside"],
)
def test_init__error_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, capsys, prepare, arguments, message):
    prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert call(["init", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert sorted(tmp_path.rglob("*")) == before


def test_init__works_with_base_dependencies_and_folders_of_the_same_names(tmp_path):
    """Printed commands, which must also work in a folder with models/ and config/."""
    for name in ("models", "config"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong package')\n")
    images(tmp_path / "scans", *(f"{label}/case{n}-{k}.png" for label in "ab" for n in range(5) for k in (1, 2)))
    environment = {name: value for name, value in os.environ.items() if name != "MEDTUNE_PROJECT"}

    def start(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", BASE_ONLY, *arguments]
        inherited = {**environment, "PYTHONPATH": str(PROJECT)}
        return subprocess.run(command, cwd=tmp_path, env=inherited, capture_output=True, text=True, check=False)

    def run(*arguments: str) -> str:
        process = start(*arguments)
        assert process.returncode == 0, process.stderr
        return process.stdout

    out = run("init", "--positive", "b")
    assert "10 in" not in out
    assert 'pip install "medtune[train]"' in out
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [".gitignore", "params.yaml"]
    pattern = next(line.strip() for line in out.splitlines() if "patient_pattern=" in line)
    run(*shlex.split(pattern)[1:])
    assert "patient_pattern" in run("params", "show", "data")
    assert run("params", "check") == "params: valid\n"
    assert "scans" in run("params", "show", "data.root")
    assert "data" in run("status")
    for arguments in (["doctor"], ["data"], ["benchmark"], ["services", "status"]):
        process = start(*arguments)
        assert process.returncode == 2
        assert re.fullmatch(r'error: \w+ is not installed. Run pip install "medtune\[train\]"\n', process.stderr)


def test_init__pipeline_with_dvc_depends_on_no_source_file(tmp_path, capsys):
    assert call(["init", str(tmp_path / "project"), "--dvc"]) == 0
    project = tmp_path / "project"
    deps = [path for stage in load.read(project / "dvc.yaml")["stages"].values() for path in stage["deps"]]
    assert deps == ["data/folds.csv", "${data.root}", "data/prepared"]
    root = load.read(project / "params.yaml")["data"]["root"]
    assert (project / root).is_dir()
    assert "built-in synthetic set" in capsys.readouterr().out


def test_init__reads_patients_and_sizes_from_dicom_files(tmp_path, capsys):
    for number in range(12):
        folder = tmp_path / "scans" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        file = write(folder, np.zeros((40, 48), np.uint8), PatientID=f"p{number // 2}")
        file.rename(file.with_suffix("") if number % 3 == 0 else file)
    (tmp_path / "scans" / "a" / "damaged.dcm").write_bytes(b"x" * 200)
    result = init(tmp_path / "project", tmp_path / "scans", capsys)
    assert result["found"]["images"].startswith("13 ")
    assert result["found"]["image size"].startswith("48x40")
    assert [warning for warning in result["warnings"] if "cannot be read as an image" in warning] == [
        "a/damaged.dcm: cannot be read as an image. `medtune data` lists every unreadable file"
    ]
    (tmp_path / "scans" / "a" / "damaged.dcm").unlink()
    second = init(tmp_path / "other", tmp_path / "scans", capsys)
    assert second["found"]["patients"] == "6, from PatientID in the DICOM files"
    assert second["warnings"] == []

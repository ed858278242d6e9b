import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from medtune.cli.main import call
from medtune.config.errors import InputError
from medtune.config.load import load
from medtune.config.project import PROJECT
from medtune.data.manifest import load_prepared
from medtune.runtime.artifact import partial_dir
from medtune.runtime.paths import RunPaths
from medtune.stages import data
from tests.stages.drawn_folder import draw, prepare, read_json

COMMAND = [sys.executable, "-m", "medtune", "data"]


@pytest.fixture
def root(tmp_path):
    draw(tmp_path / "raw")
    return tmp_path / "raw"


def test_run__writes_all_outputs(root):
    artifact = prepare(root)
    assert {path.name for path in artifact.folder.iterdir()} == {
        "manifest.csv", "dataset.json", "report.json", "images.npy", "samples.png", "samples", "result.json",
    }  # fmt: skip
    info, report = read_json(artifact, "dataset.json"), read_json(artifact)
    assert info["classes"] == ["no", "yes"]
    assert info["counts"]["all"] == {"no": 24, "yes": 24}
    assert info["n_images"] == 48
    assert info["n_patients"] == 12
    assert info["leaked_patients"] == []
    assert {"name", "license", "citation", "protocol", "faults", "notes"} <= set(info)
    assert sum(info["counts"]["folds"]["1"]["train"].values()) + report["n_rejected"] < 48
    assert (report["n_found"], report["n_kept"], report["n_rejected"]) == (48, 48, 0)
    assert report["seconds"] > 0
    assert report["images_per_second"] > 0
    prepared = load_prepared(artifact.folder)
    assert prepared.images.shape == (48, 16, 16, 3)
    assert not partial_dir(artifact.folder).exists()


def test_run__patient_protocol_has_no_leaks(root):
    prepared = load_prepared(prepare(root, "data.split.test_fold=all").folder)
    for fold in range(5):
        splits = prepared.indices(fold)
        for ids in (prepared.patient_ids, np.array(prepared.sha256)):
            ids_by_split = [set(ids[splits[split]]) for split in ("train", "val", "test")]
            assert sum(map(len, ids_by_split)) == len(set.union(*ids_by_split))


def test_run__unchanged_input_reuses_the_artifact(root, capsys):
    first = prepare(root)
    before = {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    assert prepare(root) == first
    assert "nothing changed; 48 images" in capsys.readouterr().out
    assert {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()} == before


@pytest.mark.parametrize("change", ["file", "params", "damage", "removed"])
def test_run__change_is_detected(root, change, capsys):
    first = prepare(root)
    sets = []
    if change == "file":
        Image.new("RGB", (9, 9), "red").save(root / "no" / "P0_0.png")
    elif change == "params":
        sets = ["data.resize=crop"]
    elif change == "damage":
        content = bytearray((first.folder / "images.npy").read_bytes())
        content[500] ^= 1
        (first.folder / "images.npy").write_bytes(content)
    else:
        (root / "yes" / "P1_0.png").unlink()
    capsys.readouterr()
    second = prepare(root, *sets)
    assert "nothing changed" not in capsys.readouterr().out
    assert (second.sha256 == first.sha256) is False
    load_prepared(second.folder)


def test_run__is_reproducible(root):
    first = load_prepared(prepare(root).folder)
    second = load_prepared(prepare(root, "data.split.test_fold=2").folder)
    assert first.digest == second.digest
    assert np.array_equal(first.folds, second.folds)
    assert first.split_digest(3) == second.split_digest(3)


def test_run__unusable_images_are_rejected(root):
    names = []
    for number, content in enumerate([b"", b"text", (root / "no" / "P0_3.png").read_bytes()[:60]]):
        (root / "no" / f"P{2 * number}_0.png").write_bytes(content)
        names.append(f"no/P{2 * number}_0.png")
    with pytest.raises(InputError, match=r"3 of 48 images cannot be used: no/P0_0\.png: the file is empty"):
        prepare(root)
    assert not (root.parent / "out" / "data" / "prepared").exists()
    assert not partial_dir(root.parent / "out" / "data" / "prepared").exists()
    report = read_json(prepare(root, "data.on_bad_image=reject"))
    assert [entry["path"] for entry in report["rejected"]] == names
    assert report["n_kept"] + report["n_rejected"] == report["n_found"] == 48


def test_run__identical_images_of_two_patients_are_an_error(root):
    for number in range(4):
        content = (root / "no" / f"P0_{number}.png").read_bytes()
        for patient in (2, 4, 6, 8, 10):
            (root / "no" / f"P{patient}_{number}.png").write_bytes(content)
    with pytest.raises(InputError, match=r"identical images .*no/P0_0\.png = no/P10_0\.png"):
        prepare(root)
    exact = read_json(prepare(root, "data.split.protocol=image"))["duplicates"]["exact"]
    assert exact["sets"] == 4
    assert exact["across_splits"] > 0


def test_run__near_duplicates_are_reported(root):
    image = Image.open(root / "no" / "P0_0.png").convert("RGB")
    for patient in (2, 4, 6, 8, 10):
        # A change of one gray level is visible at the packed size.
        image.point(lambda value, by=patient: min(255, value + by // 2)).save(root / "no" / f"P{patient}_0.png")
    near = read_json(prepare(root))["duplicates"]["near"]
    assert near["across_splits"] > 0
    assert near["first"][0]["across_splits"]


def test_run__killed_while_packing_starts_clean(root):
    leftover = partial_dir(root.parent / "out" / "data" / "prepared")
    leftover.mkdir(parents=True)
    (leftover / "images.npy").write_bytes(b"half")
    (leftover / "stray").touch()
    artifact = prepare(root)
    assert not leftover.exists()
    assert not (artifact.folder / "stray").exists()


def test_run__missing_root_is_an_error(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such path"):
        prepare(tmp_path / "nowhere")


def test_run__root_is_relative_to_the_project(root):
    relative = os.path.relpath(root, PROJECT)
    params = load(
        None,
        [
            "data.source=folder",
            f"data.root={relative}",
            "data.split.protocol=image",
            "data.image_size=8",
            "data.positive=no",
        ],
    )
    assert read_json(data.run(params, RunPaths.from_env(root.parent / "out")))["n_kept"] == 48


def test_run__skipped_files_are_printed_and_reported(root, capsys):
    for name in ("no/x.pdf", "no/y.gif", "no/z.gif", "no/.DS_Store", "yes/._P1_0.png", "yes/Thumbs.db"):
        (root / name).write_bytes(b"x")
    report = read_json(prepare(root))
    assert report["left_out"]["files"] == {"no": {".pdf": 1, ".gif": 2}}
    assert report["left_out"]["system_files"] == {"._*": 1, ".DS_Store": 1, "Thumbs.db": 1}
    assert "data: left out: 2 .gif, 1 .pdf in no\n" in capsys.readouterr().out
    (root / "yes" / "new.pdf").touch()
    assert read_json(prepare(root))["left_out"]["files"]["yes"] == {".pdf": 1}
    (root / "yes" / ".DS_Store").touch()
    capsys.readouterr()
    prepare(root)
    assert "nothing changed" in capsys.readouterr().out  # operating systems write such files at any time


def test_run__file_name_that_is_not_utf8_is_rejected(root):
    path_bytes = os.fsencode(root / "no") + b"/P0_k\xf6rper.png"
    with open(path_bytes, "wb") as stream:
        stream.write((root / "no" / "P0_0.png").read_bytes())
    for path in root.rglob("*.png"):
        path.write_bytes(path.read_bytes() + b" ")  # only the name is invalid
    with pytest.raises(InputError, match=r"1 of 49 images cannot be used: no/P0_k\\xf6rper\.png"):
        prepare(root)
    report = read_json(prepare(root, "data.on_bad_image=reject"))
    assert report["rejected"] == [{"path": "no/P0_k\\xf6rper.png", "reason": "the file name is not valid UTF-8"}]
    assert (report["n_found"], report["n_kept"], report["n_rejected"]) == (49, 48, 1)


def test_run__patients_with_the_same_id_are_merged(root):
    for number in range(4):
        (root / "no" / f"P0_{number}.png").rename(root / "no" / f"P00_{number}.png")
    draw(root.parent / "more", patients=1)
    for number in range(4):
        (root.parent / "more" / "no" / f"P0_{number}.png").rename(root / "no" / f"P0_{number}x.png")
    Image.new("RGB", (9, 9), "red").save(root / "no" / "P0_0x.png")
    for number in range(1, 4):
        (root / "no" / f"P0_{number}x.png").unlink()
    with pytest.raises(InputError, match=r"'P00' \(no/P00_0\.png\) and 'P0' \(no/P0_0x\.png\)"):
        prepare(root)
    info = read_json(prepare(root, "data.similar_patients=equal"), "dataset.json")
    assert info["n_patients"] == 12
    assert "1 patients had several spellings" in info["notes"][0]
    assert read_json(prepare(root, "data.similar_patients=different"), "dataset.json")["n_patients"] == 13


def test_run__reserved_column_name_is_rejected_before_decoding(root):
    for path in root.rglob("*.png"):
        path.write_bytes(b"never read")
    rows = "".join(f"{path.relative_to(root)},{path.parent.name},{n},1\n" for n, path in enumerate(root.rglob("*.png")))
    (root / "labels.csv").write_text("path,label,group,fold\n" + rows)
    with pytest.raises(InputError, match=r"data.csv=labels.csv: the column name 'fold' is reserved"):
        prepare(root, "data.csv=labels.csv", pattern=None)


INVALID_TABLES = {
    "header": "path,label,label\nno/P0_0.png,a,b\n",
    "patients": "path,label,group\nno/P0_0.png,no,P1\nyes/P1_0.png,yes,p1\n",
    "labels": "path,label\nno/P0_0.png,no\nyes/P1_0.png,No\n",
    "missing": "path,label\nabsent.png,no\n",
    "unknown": "path,label,group\nno/P0_0.png,no,NA\n",
    "positive": "path,label\nno/P0_0.png,no\nyes/P1_0.png,yes\n",
    "few": "path,label,group\nno/P0_0.png,no,1\nyes/P1_0.png,yes,2\n",
}
WITHOUT_TORCH = """
import sys
from medtune.cli.main import call
code = call(sys.argv[1:])
heavy = {"torch", "timm", "prefect", "wandb", "peft"} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""


# Table `few` fails when the data are split, which training must not do again.
CASES = [("data", name) for name in INVALID_TABLES] + [("train", name) for name in INVALID_TABLES if name != "few"]


@pytest.mark.parametrize(("command", "name"), CASES)
def test_command__invalid_table_is_reported_without_torch(root, command, name):
    arguments = [command, *(["--no-prefect"] if command == "train" else [])]
    (root / "labels.csv").write_text(INVALID_TABLES[name])
    options = ["--set", "data.source=folder", "--set", f"data.root={root}", "--set", "data.csv=labels.csv",
               "--out", str(root.parent), *(["--set", "data.positive=yes"] if name == "few" else [])]  # fmt: skip
    script = [sys.executable, "-c", WITHOUT_TORCH, *arguments, *options]
    process = subprocess.run(script, cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert process.returncode == 2, process.stderr
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1
    assert "labels.csv" in process.stderr or "data." in process.stderr


@pytest.mark.slow
def test_command__invalid_input_is_one_line_and_exits_with_2(tmp_path):
    sets = ["--set", "data.source=folder", "--set", f"data.root={tmp_path}/missing"]
    command = [*COMMAND, *sets, "--out", str(tmp_path)]
    process = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert process.returncode == 2
    assert process.stderr.startswith("error: data.root=")
    assert process.stderr.count("\n") == 1


@pytest.mark.slow
def test_command__prepares_data(root, capsys, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(root.parent / "cache"))
    arguments = ["--set", "model.backbone_args={img_size: 16, depth: 1}", "--set", "model.weights=none",
             "--set", "schedule=frozen",
             "--set", "data.source=folder", "--set", f"data.root={root}", "--set", "data.split.protocol=image",
             "--set", "data.positive=yes", "--set", "data.image_size=16", "--out", str(root.parent)]  # fmt: skip
    assert call(["data", *arguments]) == 0
    printed = capsys.readouterr()
    assert "data: 48 images (no 24, yes 24; positive class: yes), no patient ids, split by image" in printed.out
    assert "Traceback" not in printed.err

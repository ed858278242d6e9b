import csv
import json
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

COMMAND = [sys.executable, "-m", "medtune", "data"]


def draw(root, patients=12, each=4, size=(14, 10)):
    """Class folders with patients in the names; every picture different."""
    rng = np.random.default_rng(9)
    for patient in range(patients):
        place = root / ("no", "yes")[patient % 2]
        place.mkdir(parents=True, exist_ok=True)
        for number in range(each):
            image = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize(size)
            image.save(place / f"P{patient}_{number}.png")


@pytest.fixture
def root(tmp_path):
    draw(tmp_path / "raw")
    return tmp_path / "raw"


def prepare(root, *sets, source="folder", pattern=r"(P\d+)_"):
    own = ["data.group_pattern=" + json.dumps(pattern)] if source == "folder" and pattern else []
    own += ["data.positive=yes"] if source == "folder" else []
    params = load(None, [f"data.source={source}", f"data.root={root}", "data.image_size=16", *own, *sets])
    return data.run(params, RunPaths.from_env(root.parent / "out"))


def told(artifact, name="report.json"):
    return json.loads((artifact.folder / name).read_text())


def test_run__writes_all_that_others_read(root):
    done = prepare(root)
    assert {path.name for path in done.folder.iterdir()} == {
        "manifest.csv", "dataset.json", "report.json", "images.npy", "samples.png", "samples", "result.json",
    }  # fmt: skip
    info, report = told(done, "dataset.json"), told(done)
    assert info["classes"] == ["no", "yes"]
    assert info["counts"]["all"] == {"no": 24, "yes": 24}
    assert info["n_images"] == 48
    assert info["n_groups"] == 12
    assert info["leaked_groups"] == []
    assert {"name", "licence", "citation", "protocol", "faults", "notes"} <= set(info)
    assert sum(info["counts"]["chains"]["1"]["train"].values()) + report["n_rejected"] < 48
    assert (report["n_found"], report["n_kept"], report["n_rejected"]) == (48, 48, 0)
    assert report["seconds"] > 0
    assert report["images_per_second"] > 0
    prepared = load_prepared(done.folder)
    assert prepared.images.shape == (48, 16, 16, 3)
    assert not partial_dir(done.folder).exists()


def test_run__patient_protocol_leaks_no_group_no_pixels(root):
    prepared = load_prepared(prepare(root, "data.split.test_fold=all").folder)
    for chain in range(5):
        parts = prepared.indices(chain)
        for kind in (prepared.patient_ids, np.array(prepared.sha256)):
            held = [set(kind[parts[part]]) for part in ("train", "val", "test")]
            assert sum(map(len, held)) == len(set.union(*held))


def test_run__nothing_changed_returns_at_once(root, capsys):
    first = prepare(root)
    before = {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    assert prepare(root) == first
    assert "nothing changed, 48 images" in capsys.readouterr().out
    assert {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()} == before


@pytest.mark.parametrize("change", ["file", "params", "damage", "removed"])
def test_run__a_change_is_noticed(root, change, capsys):
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


def test_run__same_input_gives_the_same_set(root):
    first = load_prepared(prepare(root).folder)
    other = load_prepared(prepare(root, "data.split.test_fold=2").folder)
    assert first.digest == other.digest
    assert np.array_equal(first.folds, other.folds)
    assert first.split_digest(3) == other.split_digest(3)


def test_run__image_protocol_counts_and_names_the_leak(root):
    done = prepare(root, "data.split.protocol=image")
    info = told(done, "dataset.json")
    assert info["leaked_groups"]
    assert info["leaked_groups"] == told(done)["leaked_groups"]
    assert f"LEAK: {len(info['leaked_groups'])} of 12 groups" in info["notes"][0]


def test_run__without_patients(root):
    with pytest.raises(InputError, match="no patients are named"):
        prepare(root, pattern=None)
    info = told(prepare(root, "data.split.protocol=image", pattern=None), "dataset.json")
    assert info["groups_known"] is False
    assert "cannot be excluded" in info["notes"][-1]


def test_run__bad_split_is_refused_before_decoding(root):
    for path in root.rglob("*.png"):
        path.write_bytes(b"never read")
    with pytest.raises(InputError, match="only 12 patients"):
        prepare(root, "data.split.folds=13")


def test_run__bad_images(root):
    names = []
    for number, content in enumerate([b"", b"text", (root / "no" / "P0_3.png").read_bytes()[:60]]):
        (root / "no" / f"P{2 * number}_0.png").write_bytes(content)
        names.append(f"no/P{2 * number}_0.png")
    with pytest.raises(InputError, match=r"3 of 48 images cannot be used: no/P0_0\.png: the file is empty"):
        prepare(root)
    assert not (root.parent / "out" / "data" / "prepared").exists()
    assert not partial_dir(root.parent / "out" / "data" / "prepared").exists()
    report = told(prepare(root, "data.on_bad_image=reject"))
    assert [entry["path"] for entry in report["rejected"]] == names
    assert report["n_kept"] + report["n_rejected"] == report["n_found"] == 48


def test_run__rejections_may_break_the_split(root):
    for path in (root / "yes").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="no images of class yes"):
        prepare(root, "data.on_bad_image=reject")


def test_run__equal_pixels_under_two_patients(root):
    for number in range(4):
        content = (root / "no" / f"P0_{number}.png").read_bytes()
        for patient in (2, 4, 6, 8, 10):
            (root / "no" / f"P{patient}_{number}.png").write_bytes(content)
    with pytest.raises(InputError, match=r"pixel for pixel.*no/P0_0\.png = no/P10_0\.png"):
        prepare(root)
    exact = told(prepare(root, "data.split.protocol=image"))["duplicates"]["exact"]
    assert exact["sets"] == 4
    assert exact["across_splits"] > 0


def test_run__near_copies_are_told(root):
    image = Image.open(root / "no" / "P0_0.png").convert("RGB")
    for patient in (2, 4, 6, 8, 10):
        # Seen at the packed size: a change of one grey level.
        image.point(lambda value, by=patient: min(255, value + by // 2)).save(root / "no" / f"P{patient}_0.png")
    near = told(prepare(root))["duplicates"]["near"]
    assert near["across_splits"] > 0
    assert near["first"][0]["across_splits"]


def test_run__killed_while_packing_starts_clean(root):
    leftover = partial_dir(root.parent / "out" / "data" / "prepared")
    leftover.mkdir(parents=True)
    (leftover / "images.npy").write_bytes(b"half")
    (leftover / "stray").touch()
    done = prepare(root)
    assert not leftover.exists()
    assert not (done.folder / "stray").exists()


def test_run__missing_root(tmp_path):
    with pytest.raises(InputError, match="nowhere does not exist"):
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
    assert told(data.run(params, RunPaths.from_env(root.parent / "out")))["n_kept"] == 48


@pytest.mark.parametrize(("positive", "classes"), [("yes", ("no", "yes")), ("no", ("yes", "no"))])
def test_run__positive_class_has_index_one(root, capsys, positive, classes):
    prepared = load_prepared(prepare(root, f"data.positive={positive}").folder)
    assert prepared.classes == classes
    assert prepared.positive == positive
    assert prepared.info["counts"]["all"] == {"no": 24, "yes": 24}
    assert all(
        path.startswith(classes[label]) for path, label in zip(prepared.paths, prepared.labels.tolist(), strict=True)
    )
    assert f"positive class: {positive}" in capsys.readouterr().out


@pytest.mark.parametrize("protocol", ["patient", "image"])
def test_run__positive_class_moves_no_patient_and_no_pixel(root, protocol):
    yes, no = (
        load_prepared(prepare(root, f"data.positive={name}", f"data.split.protocol={protocol}").folder)
        for name in ("yes", "no")
    )
    assert yes.split_digest(1) == no.split_digest(1)
    assert yes.pixels_digest == no.pixels_digest  # features stay in the cache
    assert yes.digest != no.digest  # networks and metrics change
    assert [yes.classes[label] for label in yes.labels] == [no.classes[label] for label in no.labels]


def test_run__positive_class_is_required_before_decoding(root):
    with pytest.raises(InputError) as error:
        prepare(root, "data.positive=null")
    assert str(error.value) == (
        "data.positive=null: the data set has two classes, no and yes, and sensitivity, specificity and the threshold "
        "depend on which one is positive. Add --set data.positive=no or --set data.positive=yes."
    )
    assert not (root.parent / "out").exists()


def test_run__faulted_breakhis_patient_stays_in_one_split(tmp_path):
    (tmp_path / "raw").mkdir()
    rng = np.random.default_rng(2)
    for number in range(12):
        code, case = ("B_F", "M_DC")[number % 2], str(number)
        for image in (1, 2):
            pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "raw" / f"SOB_{code}-14-{case}-200-{image:03d}.png")
    twin = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    for code in ("M_DC", "M_LC"):
        twin.save(tmp_path / "raw" / f"SOB_{code}-14-13412-200-001.png")
    done = prepare(tmp_path / "raw", "data.labels=binary", source="breakhis")
    assert told(done)["duplicates"]["exact"]["sets"] == 1
    assert told(done)["duplicates"]["exact"]["across_splits"] == 0
    assert "13412" in told(done, "dataset.json")["faults"][0]


def test_run__what_is_left_out_is_printed_and_reported(root, capsys):
    for name in ("no/x.pdf", "no/y.gif", "no/z.gif", "no/.DS_Store", "yes/._P1_0.png", "yes/Thumbs.db"):
        (root / name).write_bytes(b"x")
    report = told(prepare(root))
    assert report["left_out"]["files"] == {"no": {".pdf": 1, ".gif": 2}}
    assert report["left_out"]["system_files"] == {"._*": 1, ".DS_Store": 1, "Thumbs.db": 1}
    assert "data: left out: 2 .gif, 1 .pdf in no\n" in capsys.readouterr().out
    (root / "yes" / "new.pdf").touch()
    assert told(prepare(root))["left_out"]["files"]["yes"] == {".pdf": 1}
    (root / "yes" / ".DS_Store").touch()
    capsys.readouterr()
    prepare(root)
    assert "nothing changed" in capsys.readouterr().out  # the system writes such files at any time


def test_run__a_file_name_that_is_not_utf8(root):
    bad = os.fsencode(root / "no") + b"/P0_k\xf6rper.png"
    with open(bad, "wb") as stream:
        stream.write((root / "no" / "P0_0.png").read_bytes())
    for path in root.rglob("*.png"):
        path.write_bytes(path.read_bytes() + b" ")  # only the name is wrong
    with pytest.raises(InputError, match=r"1 of 49 images cannot be used: no/P0_k\\xf6rper\.png"):
        prepare(root)
    report = told(prepare(root, "data.on_bad_image=reject"))
    assert report["rejected"] == [{"path": "no/P0_k\\xf6rper.png", "reason": "the file name is not valid UTF-8"}]
    assert (report["n_found"], report["n_kept"], report["n_rejected"]) == (49, 48, 1)


def test_run__patients_declared_equal_are_one(root):
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
    info = told(prepare(root, "data.similar_patients=equal"), "dataset.json")
    assert info["n_groups"] == 12
    assert "1 patients were written in several ways" in info["notes"][0]
    assert told(prepare(root, "data.similar_patients=different"), "dataset.json")["n_groups"] == 13


def test_run__a_column_with_a_taken_name_is_refused_before_decoding(root):
    for path in root.rglob("*.png"):
        path.write_bytes(b"never read")
    rows = "".join(f"{path.relative_to(root)},{path.parent.name},{n},1\n" for n, path in enumerate(root.rglob("*.png")))
    (root / "labels.csv").write_text("path,label,group,fold\n" + rows)
    with pytest.raises(InputError, match="column 'fold' of the table"):
        prepare(root, "data.csv=labels.csv", pattern=None)


def by_split(root, val):
    rng = np.random.default_rng(4)
    for split, each in (("Train", 10), ("Test", 4), *((("valid", 4),) if val else ())):
        for label in ("n", "p"):
            (root / split / label).mkdir(parents=True)
            for number in range(each):
                pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(root / split / label / f"{split}{number // 2}_{number}.png")
    return root


@pytest.mark.parametrize("pattern", [None, r"/([A-Za-z]+\d+)_"])
@pytest.mark.parametrize("val", [True, False])
def test_run__split_folders_are_the_split(tmp_path, val, pattern):
    done = prepare(by_split(tmp_path / "raw", val), "data.split.protocol=folders", "data.positive=p", pattern=pattern)
    prepared = load_prepared(done.folder)
    assert prepared.classes == ("n", "p")
    rows = prepared.indices(1)
    assert {prepared.paths[row].split("/")[0] for row in rows["test"]} == {"Test"}
    assert {prepared.paths[row].split("/")[0] for row in rows["val"]} == {"valid" if val else "Train"}
    assert {prepared.paths[row].split("/")[0] for row in rows["train"]} == {"Train"}
    assert [len(rows[split]) for split in ("train", "val", "test")] == ([20, 8, 8] if val else [16, 4, 8])
    assert not set(prepared.patient_ids[rows["train"]]) & set(prepared.patient_ids[rows["val"]])
    notes = told(done, "dataset.json")["notes"]
    assert "Split by the folders as given" in notes[0]
    assert any("no validation folder" in note for note in notes) is not val


def test_run__split_folders_give_one_split(tmp_path):
    root = by_split(tmp_path / "raw", True)
    with pytest.raises(InputError, match=r"test_fold is all, but the folders name one split"):
        prepare(root, "data.split.protocol=folders", "data.split.test_fold=all", "data.positive=p", pattern=None)
    with pytest.raises(InputError, match="source synthetic reads no folders"):
        prepare(root, "data.split.protocol=folders", source="synthetic")


WRONG_TABLES = {
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


# Training leaves the split to stage data.
CASES = [("data", name) for name in WRONG_TABLES] + [("train", name) for name in WRONG_TABLES if name != "few"]


@pytest.mark.parametrize(("command", "name"), CASES)
def test_command__a_wrong_table_is_told_without_torch(root, command, name):
    words = [command, *(["--no-prefect"] if command == "train" else [])]
    (root / "labels.csv").write_text(WRONG_TABLES[name])
    options = ["--set", "data.source=folder", "--set", f"data.root={root}", "--set", "data.csv=labels.csv",
               "--out", str(root.parent), *(["--set", "data.positive=yes"] if name == "few" else [])]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *words, *options], cwd=PROJECT, capture_output=True,
                          text=True, timeout=60)  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "labels.csv" in done.stderr or "data." in done.stderr


@pytest.mark.slow
def test_command__ends_with_two_and_one_line_on_wrong_input(tmp_path):
    done = subprocess.run([*COMMAND, "--set", "data.source=folder", "--set", f"data.root={tmp_path}/none", "--out",
                           str(tmp_path)], cwd=PROJECT, capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: data.root: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_command__prepares(root, capsys, monkeypatch):
    monkeypatch.setenv("MEDTUNE_CACHE", str(root.parent / "cache"))
    words = ["--set", "model.backbone_args={img_size: 16, depth: 1}", "--set", "model.weights=none",
             "--set", "schedule=frozen",
             "--set", "data.source=folder", "--set", f"data.root={root}", "--set", "data.split.protocol=image",
             "--set", "data.positive=yes", "--set", "data.image_size=16", "--out", str(root.parent)]  # fmt: skip
    assert call(["data", *words]) == 0
    printed = capsys.readouterr()
    assert "data: 48 images (no 24, yes 24; positive class: yes), no patient ids, split by image" in printed.out
    assert "Traceback" not in printed.err


def write_table(root, columns, rows):
    lines = [",".join(["path", "label", "group", *columns])]
    lines += [",".join([f"{label}/P{patient}_{n}.png", label, f"P{patient}", *rows(patient)])
              for patient in range(12) for n in range(4) for label in [("no", "yes")[patient % 2]]]  # fmt: skip
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return "data.csv=labels.csv"


def test_run__split_by_a_column_with_an_external_set(root, capsys):
    names = {0: "external", 1: "EXTERNAL", 2: "Test", 3: "test"}
    table = write_table(root, ["split", "sex"], lambda patient: [names.get(patient, "train"), "FM"[patient % 2]])
    done = prepare(root, table, "data.split.protocol=column", pattern=None)
    prepared = load_prepared(done.folder)
    splits = {split: set(prepared.patient_ids[rows]) for split, rows in prepared.indices(1).items()}
    assert set(prepared.patient_ids[prepared.external_indices(1)]) == {"P0", "P1"}
    assert splits["test"] == {"P2", "P3"}
    assert splits["train"] | splits["val"] == {f"P{patient}" for patient in range(4, 12)}
    assert not splits["train"] & splits["val"]
    assert splits["val"]
    assert prepared.info["counts"]["chains"]["1"]["external"] == {"no": 4, "yes": 4}
    assert list(prepared.metadata_cells) == ["sex"]
    printed = capsys.readouterr().out
    assert "8 images are external" in printed
    assert "The column has no row val: a fifth of each train part was set aside for it, by patient." in printed


@pytest.mark.parametrize(
    ("columns", "sets", "message"),
    [
        (["split"], [], r"column 'split' of the table: add --set data.split.protocol=column to split by it"),
        (["part"], ["data.split.protocol=column"], r"no column split; found path, label, group, part"),
        (["part"], ["data.columns.split=part"], r"data.columns.split=part: protocol patient does not read it"),
        (["part"], ["data.split.protocol=column", "data.columns.split=part"], r"'x' in 48 rows; expected train, val"),
        (["part"], ["data.split.protocol=site"], r"no column site; found path, label, group, part"),
    ],
)  # fmt: skip
def test_run__columns_of_splits_and_sites_refused_before_decoding(root, columns, sets, message):
    table = write_table(root, columns, lambda patient: ["x"])
    with pytest.raises(InputError, match=message):
        prepare(root, table, *sets, pattern=None)
    assert not (root.parent / "out" / "data" / "prepared").exists()


def test_run__leave_one_site_out(root):
    table = write_table(root, ["hospital"], lambda patient: ["north" if patient < 6 else "south"])
    sites = ["data.split.protocol=site", "data.split.folds=2", "data.columns.site=hospital"]
    prepared = load_prepared(prepare(root, table, *sites, "data.split.test_fold=south", pattern=None).folder)
    assert prepared.info["sites"] == ["south", "north"]
    assert set(prepared.metadata("hospital")) == {"north", "south"}
    for fold, site in enumerate(prepared.info["sites"]):
        at = np.array(prepared.metadata("hospital"))
        assert set(np.flatnonzero(at == site)) == set(prepared.indices(fold)["test"])
    split = {row["split"] for row in csv_rows(prepared.folder / "manifest.csv") if row["hospital"] == "south"}
    assert split == {"test"}


def csv_rows(path):
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))

"""Tests of protocols, splits and the positive class in stage data."""

import numpy as np
import pytest
from PIL import Image

from medtune.config.errors import InputError
from medtune.data.manifest import load_prepared
from tests.stages.drawn_folder import csv_rows, draw, prepare, read_json


@pytest.fixture
def root(tmp_path):
    draw(tmp_path / "raw")
    return tmp_path / "raw"


def test_run__image_protocol_reports_the_leak(root):
    artifact = prepare(root, "data.split.protocol=image")
    info = read_json(artifact, "dataset.json")
    assert info["leaked_patients"]
    assert info["leaked_patients"] == read_json(artifact)["leaked_patients"]
    assert f"LEAK: {len(info['leaked_patients'])} of 12 patients" in info["notes"][0]


def test_run__patient_protocol_requires_patient_ids(root):
    with pytest.raises(InputError, match="have no patient ids"):
        prepare(root, pattern=None)
    info = read_json(prepare(root, "data.split.protocol=image", pattern=None), "dataset.json")
    assert info["patients_known"] is False
    assert "may be in both train and test" in info["notes"][-1]


def test_run__invalid_split_is_rejected_before_decoding(root):
    for path in root.rglob("*.png"):
        path.write_bytes(b"never read")
    with pytest.raises(InputError, match="only 12 patients"):
        prepare(root, "data.split.folds=13")


def test_run__rejections_may_break_the_split(root):
    for path in (root / "yes").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="no image has class yes"):
        prepare(root, "data.on_bad_image=reject")


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
def test_run__positive_class_does_not_change_splits_or_pixels(root, protocol):
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


def test_run__known_issue_of_breakhis_patient_stays_in_one_split(tmp_path):
    (tmp_path / "raw").mkdir()
    rng = np.random.default_rng(2)
    for number in range(12):
        code, case = ("B_F", "M_DC")[number % 2], str(number)
        for image in (1, 2):
            pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "raw" / f"SOB_{code}-14-{case}-200-{image:03d}.png")
    duplicate = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    for code in ("M_DC", "M_LC"):
        duplicate.save(tmp_path / "raw" / f"SOB_{code}-14-13412-200-001.png")
    artifact = prepare(tmp_path / "raw", "data.labels=binary", source="breakhis")
    assert read_json(artifact)["duplicates"]["exact"]["sets"] == 1
    assert read_json(artifact)["duplicates"]["exact"]["across_splits"] == 0
    assert "13412" in read_json(artifact, "dataset.json")["faults"][0]


def write_split_folders(root, val):
    rng = np.random.default_rng(4)
    for split, n_images in (("Train", 10), ("Test", 4), *((("valid", 4),) if val else ())):
        for label in ("n", "p"):
            (root / split / label).mkdir(parents=True)
            for number in range(n_images):
                pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(root / split / label / f"{split}{number // 2}_{number}.png")
    return root


@pytest.mark.parametrize("pattern", [None, r"/([A-Za-z]+\d+)_"])
@pytest.mark.parametrize("val", [True, False])
def test_run__split_folders_define_the_split(tmp_path, val, pattern):
    artifact = prepare(
        write_split_folders(tmp_path / "raw", val), "data.split.protocol=folders", "data.positive=p", pattern=pattern
    )
    prepared = load_prepared(artifact.folder)
    assert prepared.classes == ("n", "p")
    rows = prepared.indices(1)
    assert {prepared.paths[row].split("/")[0] for row in rows["test"]} == {"Test"}
    assert {prepared.paths[row].split("/")[0] for row in rows["val"]} == {"valid" if val else "Train"}
    assert {prepared.paths[row].split("/")[0] for row in rows["train"]} == {"Train"}
    assert [len(rows[split]) for split in ("train", "val", "test")] == ([20, 8, 8] if val else [16, 4, 8])
    assert not set(prepared.patient_ids[rows["train"]]) & set(prepared.patient_ids[rows["val"]])
    notes = read_json(artifact, "dataset.json")["notes"]
    assert "Split by the folders (protocol folders)" in notes[0]
    assert any("no validation folder" in note for note in notes) is not val


def test_run__split_folders_give_one_split(tmp_path):
    root = write_split_folders(tmp_path / "raw", True)
    all_folds = "data.split.test_fold=all"
    artifact = prepare(root, "data.split.protocol=folders", all_folds, "data.positive=p", pattern=None)
    assert list(read_json(artifact, "dataset.json")["counts"]["folds"]) == ["0"]
    with pytest.raises(InputError, match=r"data\.source=synthetic has no folders"):
        prepare(root, "data.split.protocol=folders", source="synthetic")


def write_table(root, columns, rows):
    lines = [",".join(["path", "label", "group", *columns])]
    lines += [",".join([f"{label}/P{patient}_{n}.png", label, f"P{patient}", *rows(patient)])
              for patient in range(12) for n in range(4) for label in [("no", "yes")[patient % 2]]]  # fmt: skip
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return "data.csv=labels.csv"


def test_run__split_by_a_column_with_an_external_set(root, capsys):
    names = {0: "external", 1: "EXTERNAL", 2: "Test", 3: "test"}
    table = write_table(root, ["split", "sex"], lambda patient: [names.get(patient, "train"), "FM"[patient % 2]])
    artifact = prepare(root, table, "data.split.protocol=column", pattern=None)
    prepared = load_prepared(artifact.folder)
    splits = {split: set(prepared.patient_ids[rows]) for split, rows in prepared.indices(1).items()}
    assert set(prepared.patient_ids[prepared.external_indices(1)]) == {"P0", "P1"}
    assert splits["test"] == {"P2", "P3"}
    assert splits["train"] | splits["val"] == {f"P{patient}" for patient in range(4, 12)}
    assert not splits["train"] & splits["val"]
    assert splits["val"]
    assert prepared.info["counts"]["folds"]["0"]["external"] == {"no": 4, "yes": 4}
    assert list(prepared.metadata_cells) == ["sex"]
    printed = capsys.readouterr().out
    assert "8 images are external" in printed
    assert "No row has the value val: a fifth of each training split is used for validation, by patient." in printed


@pytest.mark.parametrize(
    ("columns", "sets", "message"),
    [
        (["split"], [], r"the column 'split' is not used. Add --set data.split.protocol=column"),
        (["part"], ["data.split.protocol=column"], r"no column split; found path, label, group, part"),
        (["part"], ["data.columns.split=part"], r"data.columns.split=part: protocol patient does not use this column"),
        (["part"], ["data.split.protocol=column", "data.columns.split=part"], r"'x' in 48 rows; expected train, val"),
        (["part"], ["data.split.protocol=site"], r"no column site; found path, label, group, part"),
    ],
)  # fmt: skip
def test_run__invalid_split_and_site_columns_are_rejected_before_decoding(root, columns, sets, message):
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
        sites_of_images = np.array(prepared.metadata("hospital"))
        assert set(np.flatnonzero(sites_of_images == site)) == set(prepared.indices(fold)["test"])
    split = {row["split"] for row in csv_rows(prepared.folder / "manifest.csv") if row["hospital"] == "south"}
    assert split == {"test"}

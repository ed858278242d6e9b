"""The command that evaluates a bundle for volumes on external volumes."""

import csv
import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from medtune.cli.main import call
from medtune.config.project import PROJECT
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.tasks.segmentation.case_metrics import case_metrics
from tests.serving.volumes.tiny_volume_bundle import write_bundle
from tests.stages.external_volume_world import NAMES, PATIENTS, case, change_bundle, save, write_folders, write_nnunet
from tests.stages.volume_folder import prepare

CLASSES = {"organ": 1, "lesion": 2}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Write a bundle and an nnU-Net folder of four volumes of three patients."""
    monkeypatch.chdir(tmp_path)
    limit = {"limit": 0.05, "share": 0.95, "patients": 20, "width": 1}
    write_bundle(tmp_path / "bundle", post_processing={"largest": [1], "min_volume_mm3": 0.0}, feature_limit=limit)
    write_nnunet(tmp_path / "data")
    return tmp_path


def error_of(capsys, *arguments):
    assert call(["evaluate", *map(str, arguments)]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    return error


def prepare_training(world):
    """Prepare three of the external volumes as training data, one with another mask, at another spacing."""
    root = world / "training"
    for number in range(6):
        values, mask, _ = case(number % 3)
        values = values + (number > 2)  # only the first three volumes are in both data sets
        name = f"T{number}.nii.gz"
        save(root / "images" / name, values, 2.0)
        save(root / "masks" / name, np.roll(mask, int(number == 1), axis=1), 2.0)
    section = {"source": "volumes", "root": str(root), "class_names": list(CLASSES), "spacing": [2.0, 2.0, 2.0],
               "split": {"protocol": "image", "folds": 3}}  # fmt: skip
    return prepare(section, world / "project")


def test_evaluate__equals_predictions_of_the_bundle_without_torch(world):
    training = prepare_training(world)
    control = {"title": "decoder alone", "trained": True, "sentence": "The backbone adds nothing"}
    change_bundle(
        world / "bundle",
        data_digest=training.digest,
        params={"task": {"tolerance_mm": 2.0}},
        metrics={"controls": [control]},
    )
    before = {path: path.read_bytes() for path in (world / "bundle").iterdir()}
    arguments = ["evaluate", "bundle", "--data", "data", *PATIENTS, "--out", "result", "--training-data",
                 "project/data/prepared"]  # fmt: skip
    code = (
        f"import sys\nfrom medtune.cli.main import call\ncode = call({arguments!r})\n"
        "heavy = {'torch', 'timm', 'monai', 'prefect', 'wandb'} & set(sys.modules)\n"
        "assert not heavy, heavy\nsys.exit(code)"
    )
    (world / "home").mkdir()
    environment = {"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin", "HOME": str(world / "home")}
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=world, env=environment, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr + process.stdout
    result = world / "result"
    metrics = json.loads((result / "metrics.json").read_text())

    # Label maps are those of `medtune predict`, and the metrics follow from them and from the masks.
    bundle, expected = VolumeBundle.load(world / "bundle"), {}
    for number, name in enumerate(NAMES):
        _, mask, spacing = case(number)
        image = nib.load(result / "segmentations" / f"imagesTr-{name}_0000.nii.gz")
        labels = np.asarray(image.dataobj)
        assert np.array_equal(labels, bundle.segment(world / "data" / "imagesTr" / f"{name}_0000.nii.gz").ras_labels)
        assert np.allclose(image.affine, np.diag([1.0, 1.0, spacing, 1.0]))
        expected[f"imagesTr/{name}_0000.nii.gz"] = case_metrics(mask, labels, (1.0, 1.0, spacing), CLASSES, 2.0)
    rows = list(csv.DictReader((result / "predictions.csv").open(newline="")))
    for row in rows:
        for one in expected[row["path"]]:
            assert float(row[f"dice_{one.label}"]) == pytest.approx(one.dice)
            assert float(row[f"nsd_{one.label}"]) == pytest.approx(one.nsd)
    dice = np.mean([[one.dice for one in volume] for volume in expected.values()])
    assert metrics["test"]["dice"]["value"] == pytest.approx(dice)
    assert 0.2 < dice < 1
    organ = np.mean([volume[0].dice for volume in expected.values()])
    assert metrics["test"]["dice/organ"]["value"] == pytest.approx(organ)
    assert (metrics["n_volumes"], metrics["n_patients"], metrics["protocol"]) == (4, 3, "external")
    assert [row["label"] for row in metrics["per_label"]] == list(CLASSES)
    assert [row["patient"] for row in rows] == [name[:2] for name in NAMES]
    assert len(list(csv.DictReader((result / "cases.csv").open(newline="")))) == 8
    assert {"dice.png", "sizes.png", "case_worst.png"} <= {path.name for path in (result / "images").iterdir()}

    # Calibration and uncertainty come from the same pass over the windows.
    calibration = metrics["calibration"]
    assert (calibration["folds"], calibration["n_volumes"]) == ([], 4)
    assert calibration["test"]["ece_before"] == calibration["test"]["ece_after"]  # the bundle has the temperature 1
    assert (result / "images" / "reliability.png").is_file()

    # Volumes unlike the training volumes are flagged.
    external = metrics["external"]
    (unlike,) = external["unlike_training"]
    assert unlike["volume"] == "imagesTr/P2_a_0000.nii.gz"
    assert unlike["differences"][0].startswith("spacing z 6 mm (training 2 to 3 mm)")
    assert unlike["differences"][-1] == "network features: distance 0.1281 (limit 0.05)"
    assert metrics["unlike_training"]["by_difference"] == {
        "spacing": 1, "field of view": 1, "intensity": 0, "network features": 1,
    }  # fmt: skip
    assert {row["volume"]: row["flags"].split("; ") for row in csv.DictReader((result / "cases.csv").open(newline=""))
            if row["flags"]} == {unlike["volume"]: unlike["differences"]}  # fmt: skip
    assert external["volumes_by_label"] == {"organ": 4, "lesion": 4}
    assert external["training_controls"] == ["The backbone adds nothing"]
    # Copies of training volumes are found, although spacing, names and one mask differ.
    assert external["training_overlap"]["images"] == 3
    assert metrics["warnings"][0].startswith("Leak: 3 volumes are identical to training or validation volumes")
    page = (result / "report.html").read_text()
    for text in (
        "evaluation of a bundle on external volumes",
        "Only the largest component of organ is kept. Model",
        "<h2>Volumes unlike the training volumes</h2>",
        "spacing z 6 mm",
        "<li>The backbone adds nothing.</li>",
        "network features: distance 0.1281",
        'class="warning">Leak: ',
    ):
        assert text in page
    assert {path: path.read_bytes() for path in (world / "bundle").iterdir()} == before
    assert {path.name for path in world.iterdir()} == {"bundle", "data", "home", "training", "project", "result"}


def test_evaluate__bad_volumes_are_named_before_a_prediction(world, capsys):
    (world / "data" / "imagesTr" / "P0_a_0000.nii.gz").write_bytes(b"no volume")
    values, mask, spacing = case(1)
    save(world / "data" / "labelsTr" / "P0_b.nii.gz", mask + np.uint8(5), spacing)
    save(world / "data" / "imagesTr" / "P1_a_0000.nii.gz", values - 1000, spacing)
    error = error_of(capsys, "bundle", "--data", "data", "--out", "result")
    assert "1 of 4 volumes cannot be used: imagesTr/P0_a_0000.nii.gz" in error
    save(world / "data" / "imagesTr" / "P0_a_0000.nii.gz", values, spacing)
    error = error_of(capsys, "bundle", "--data", "data", "--out", "result")
    assert "2 of 4 volumes cannot be used" in error
    assert "the mask has the labels 5, 6" in error
    assert "are outside of the window 0 to 400" in error
    assert {path.name for path in world.iterdir()} == {"bundle", "data"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "none"], "--data=none: does not exist. Name a folder with dataset.json"),
        (["--data", "bundle"], "no dataset.json of nnU-Net or the Decathlon, and no folders images and masks"),
        (["--data", "data", "--set", "data.spacing=[1, 1, 1]"], "--set data.spacing: the bundle fixes this value"),
        (["--data", "data", "--set", "data.csv=t.csv"], "--set data.csv: --data names the images"),
        (["--data", "data", "--set", "data.source=phantom"], "phantom: not a source of volumes in files"),
        (["--data", "data", "--set", "data.source=decathlon"], "dataset.json has the layout of nnunet"),
        (["--data", "data", "--set", "data.image_size=8"], "volumes do not use this key"),
        (["--data", "data", "--set", "data.label_map={liver: organ}"], "the data have no label 'liver'"),
        (["--data", "data", "--set", "data.label_map={lesion: tumor}"], "'tumor' is not a class of the bundle"),
        (
            ["--data", "data", "--set", "data.label_map={lesion: organ}"],
            "the bundle also predicts lesion, but the data",
        ),
        (["--data", "data", "--by", "site"], "evaluate.by=site: no such column"),
        (["--data", "data", "--out", "data/x"], "need separate folders"),
        (["--data", "data", "--training-data", "data"], "run `medtune data`"),
    ],
)
def test_evaluate__invalid_input_is_one_line(world, capsys, arguments, message):
    assert message in error_of(capsys, "bundle", *arguments)
    assert {path.name for path in world.iterdir()} == {"bundle", "data"}


def test_evaluate__split_column_of_a_table_is_refused(world, capsys):
    table = write_folders(world / "folders") / "volumes.csv"
    table.write_text(table.read_text().replace("site", "split"))
    error = error_of(capsys, "bundle", "--data", table)
    assert "the table has a column split, but all rows are evaluated" in error

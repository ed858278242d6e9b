"""Tests of evaluating a bundle on external images with the command."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from medtune.cli.main import call
from medtune.config.project import PROJECT
from medtune.tasks.classification.metrics import compute_all
from tests.robustness.tiny_bundle import red_probability, write_bundle

LABELS = {"bleu": "blue", "Red": "red"}
LABEL_MAP = ["--set", 'data.label_map={"bleu": "blue", "Red": "red"}']
PATIENTS = ["--set", "data.columns.patient=case"]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Write a bundle for 8 x 8 pixels, 36 images of 12 patients, and a table with other class names."""
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "bundle")
    rng = np.random.default_rng(1)
    rows = []
    for k in range(36):
        pixels = rng.integers(0, 200, (8, 8, 3))
        pixels[..., 0 if k % 2 else 2] += rng.integers(0, 56)
        path = tmp_path / "images" / f"{k:02}.{('png', 'tif')[k % 3 == 0]}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
        rows.append((path.name, ("bleu", "Red")[k % 2], f"P{k // 3}", ("F", "M", "")[k // 3 % 3]))
    write_table(tmp_path / "images" / "t.csv", rows)
    return tmp_path


def write_table(path: Path, rows: list[tuple[str, str, str, str]]) -> None:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("path", "label", "case", "sex"), *rows])


def pixels_of(folder: Path, names: list[str]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(folder / name)) for name in names])


def evaluate(*arguments: str) -> int:
    return call(["evaluate", "bundle", "--data", "images/t.csv", *arguments])


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert call(["evaluate", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    return error


def test_evaluate__equals_direct_predictions_of_the_bundle(world):
    before = {path: path.read_bytes() for path in (world / "bundle").iterdir()}
    assert evaluate(*LABEL_MAP, *PATIENTS, "--by", "sex", "--out", "result") == 0
    metrics = json.loads((world / "result" / "metrics.json").read_text())
    rows = list(csv.DictReader((world / "result" / "predictions.csv").open(newline="")))

    probabilities = red_probability(pixels_of(world / "images", [row["path"] for row in rows]))
    assert [[float(row["prob_blue"]), float(row["prob_red"])] for row in rows] == pytest.approx(probabilities, abs=1e-5)
    decisions = (probabilities[:, 1] >= 0.7).astype(int)  # the bundle's threshold, not 0.5
    assert [row["prediction"] for row in rows] == [("blue", "red")[k] for k in decisions]
    labels = np.array([int(row["path"][:2]) % 2 for row in rows])
    expected = compute_all(labels, probabilities, decisions, np.array([row["patient"] for row in rows]))
    assert {name: entry["value"] for name, entry in metrics["test"].items()} == pytest.approx(
        expected, rel=1e-5, abs=1e-6
    )
    assert (metrics["n_images"], metrics["n_patients"], metrics["protocol"]) == (36, 12, "external")
    assert metrics["external"]["images_by_class"] == {"blue": 18, "red": 18}
    assert metrics["external"]["training_overlap"] == {"known": False}
    (sex,) = metrics["subgroups"]
    assert [(entry["value"], entry["n_patients"]) for entry in sex["subgroups"]] == [
        ("F", 4),
        ("M", 4),
        ("not recorded", 4),
    ]

    page = (world / "result" / "report.html").read_text()
    assert "evaluation of a bundle on external images" in page
    assert "red if prob_red &gt;= 0.7" in page
    assert "<h2>Folds</h2>" not in page
    assert "<h2>Subgroups</h2>" in page
    assert {path: path.read_bytes() for path in (world / "bundle").iterdir()} == before
    assert {path.name for path in world.iterdir()} == {"bundle", "images", "result"}
    assert evaluate(*LABEL_MAP, *PATIENTS, "--out", "result") == 0  # an earlier result is replaced
    assert not (world / "result" / "subgroups.csv").exists()


def test_evaluate__class_folders_without_patients_cause_a_warning(world, capsys):
    for path in sorted((world / "images").glob("*.*g")):
        folder = world / "classes" / ("blue", "red")[int(path.stem) % 2]
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    assert call(["evaluate", "bundle", "--data", "classes", "--json"]) == 0
    captured = capsys.readouterr()
    metrics = json.loads(captured.out)
    assert any("The patients are unknown. Intervals treat each image as a patient" in w for w in metrics["warnings"])
    assert "treat each image as a patient" in captured.err
    assert metrics["intervals"].startswith("95 %, jackknife over images ")
    assert "treat each image as a patient" in (world / "evaluation-classes" / "report.html").read_text()


def test_evaluate_bundle__python_call_writes_metrics_and_report(world):
    import medtune

    artifact = medtune.evaluate_bundle("bundle", "images/t.csv", "result", [LABEL_MAP[1], PATIENTS[1]])
    assert artifact.report.is_file()
    assert (
        artifact.metrics["auroc"]
        == json.loads((world / "result" / "metrics.json").read_text())["test"]["auroc"]["value"]
    )
    with pytest.raises(medtune.InputError, match="is not a bundle"):
        medtune.evaluate_bundle("images", "images/t.csv")


def test_evaluate__missing_class_is_reported(world):
    rows = list(csv.reader((world / "images" / "t.csv").open(newline="")))[1:]
    write_table(world / "images" / "t.csv", [row for row in rows if row[1] == "Red"])
    assert evaluate("--set", "data.label_map={Red: red}", *PATIENTS, "--out", "result") == 0
    metrics = json.loads((world / "result" / "metrics.json").read_text())
    assert "No test image is blue: averages over classes exclude it." in metrics["warnings"]
    assert metrics["test"]["auroc"]["value"] is None
    assert metrics["test"]["sensitivity"]["value"] is not None


def test_evaluate__bundle_of_8_bit_images_rejects_12_bit_images(world, capsys):
    for path in sorted((world / "images").glob("*.*[gf]")):
        pixels = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 16
        path.with_suffix(".png").write_bytes(imagecodecs.png_encode(pixels))
    table = world / "images" / "t.csv"
    table.write_text(table.read_text().replace(".tif", ".png"))
    error = error_of(capsys, "bundle", "--data", "images/t.csv", *LABEL_MAP, "--out", "result")
    assert "36 of 36 images cannot be used" in error
    assert "the model was trained on 8-bit images" in error
    assert not (world / "result").exists()
    assert {path.name for path in world.iterdir()} == {"bundle", "images"}


def test_evaluate__rejected_images_are_reported(world):
    (world / "images" / "05.png").write_bytes(b"no image")
    assert evaluate(*LABEL_MAP, *PATIENTS, "--out", "result", "--set", "data.on_bad_image=reject") == 0
    metrics = json.loads((world / "result" / "metrics.json").read_text())
    assert metrics["n_images"] == 35
    assert any("1 of 36 images that cannot be used, for example 05.png" in warning for warning in metrics["warnings"])


def test_evaluate__training_images_and_patients_are_a_leak(world):
    """Put the bundle into a project with the data/prepared of its training."""
    from medtune.config.load import load
    from medtune.data.manifest import load_prepared
    from medtune.runtime.paths import RunPaths
    from medtune.stages import data as stage

    sets = ["data.source=folder", f"data.root={world / 'images'}", "data.csv=t.csv", LABEL_MAP[1], PATIENTS[1]]
    sets += ["data.image_size=8", "data.split.folds=3", *(["data.positive=red"] if has_positive() else [])]
    stage.run(load(sets=sets), RunPaths.from_env(world / "project"))
    prepared = load_prepared(world / "project" / "data" / "prepared")
    bundle = write_bundle(
        world / "project" / "artifacts" / "export", data_digest=prepared.digest, exported={"fold": 1, "stage": "frozen"}
    )
    rows = prepared.indices(1)
    n_training, n_test = len(rows["train"]) + len(rows["val"]), len(rows["test"])
    n_training_patients = len(set(prepared.patient_ids[np.r_[rows["train"], rows["val"]]].tolist()))
    out = ["--out", str(world / "result")]
    assert call(["evaluate", str(bundle), "--data", "images/t.csv", *LABEL_MAP, *PATIENTS, *out]) == 0
    metrics = json.loads((world / "result" / "metrics.json").read_text())
    overlap = metrics["external"]["training_overlap"]
    assert (overlap["images"], overlap["test_images"], overlap["patients"]) == (n_training, n_test, n_training_patients)
    assert metrics["warnings"][0].startswith(
        f"Leak: {n_training} images are identical to training or validation images"
    )
    page = (world / "result" / "report.html").read_text()
    assert f'class="warning">Leak: {n_training} images' in page

    other_bundle = write_bundle(world / "bundle", data_digest=prepared.digest, exported={"fold": 1})
    options = ["--training-data", str(world / "project" / "data" / "prepared")]
    assert call(["evaluate", str(other_bundle), "--data", "images/t.csv", *LABEL_MAP, *PATIENTS, *out, *options]) == 0
    assert json.loads((world / "result" / "metrics.json").read_text())["external"]["training_overlap"] == overlap


def has_positive() -> bool:
    from medtune.config.data import DataParams

    return "positive" in DataParams.model_fields


def test_evaluate__bundle_for_slides_is_rejected(world, capsys):
    write_bundle(world / "bundle", tiles={"size_px": 8, "size_um": 4.0}, temperature=1.0)
    error = error_of(capsys, "bundle", "--data", "images/t.csv", *LABEL_MAP)
    assert "bundle" in error
    assert not (world / "evaluation-t").exists()


def test_evaluate__training_data_of_another_bundle_is_rejected(world, capsys):
    error = error_of(capsys, "bundle", "--data", "images/t.csv", *LABEL_MAP, "--training-data", "images")
    assert "images" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["bundle", "--data", "images/t.csv"],
            "labels Red (18 images), bleu (18 images) are not classes of the bundle",
        ),
        (["bundle", "--data", "images/t.csv", "--set", "data.label_map={bleu: blue}"], "labels Red (18 images) are no"),
        (
            ["bundle", "--data", "images/t.csv", *LABEL_MAP, "--by", "sexe"],
            "evaluate.by=sexe: no such column (did you mean",
        ),
        (["bundle", "--data", "images/t.csv", *LABEL_MAP, "--by", "case"], None),
        (["bundle", "--data", "none.csv"], "--data=none.csv: does not exist"),
        (["bundle"], "--data: missing"),
        (["images", "--data", "images/t.csv"], "images is not a bundle"),
        (["--data", "images/t.csv"], "--data: applies to a bundle only"),
        (["bundle", "--data", "images/t.csv", "--params", "p.yaml"], "--params=p.yaml: a bundle contains its params"),
        (["bundle", "--data", "images/t.csv", "--set", "model.weights=hub"], "--set model: has no effect"),
        (
            ["bundle", "--data", "images/t.csv", "--set", "data.resize=pad"],
            "--set data.resize: the bundle fixes this value",
        ),
        (["bundle", "--data", "images/t.csv", "--set", "evaluate.threshold=argmax"], "--set evaluate.threshold: the b"),
        (["bundle", "--data", "images/t.csv", "--set", "data.colums={}"], "data.colums: unknown key (did you mean"),
        (
            ["bundle", "--data", "images/t.csv", *LABEL_MAP, "--precision", "fp16"],
            "has no fp16 model (3 images came out NaN)",
        ),
        (
            ["bundle", "--data", "images/t.csv", *LABEL_MAP, "--out", "images"],
            "exists and is not a result of this command",
        ),
        (["bundle", "--data", "images/t.csv", *LABEL_MAP, "--out", "bundle/x"], "need separate folders"),
        (["bundle", "--data", "images", "--out", "images/x"], "need separate folders"),
    ],
)
def test_evaluate__invalid_input_is_one_line(world, capsys, arguments, message):
    if message is None:  # twelve patients are the maximum number of values
        assert call(["evaluate", *arguments]) == 0
        return
    assert message in error_of(capsys, *arguments)
    assert {path.name for path in world.iterdir()} == {"bundle", "images"}


def test_evaluate__imports_no_torch(world):
    code = (
        "import sys\nfrom medtune.cli.main import call\n"
        f"code = call({['evaluate', 'bundle', '--data', 'images/t.csv', *LABEL_MAP, *PATIENTS]!r})\n"
        "heavy = {'torch', 'timm', 'prefect', 'wandb'} & set(sys.modules)\n"
        "assert not heavy, heavy\nsys.exit(code)"
    )
    environment = {"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin:/bin", "HOME": str(world)}
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=world, env=environment, capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr
    assert (world / "evaluation-t" / "report.html").is_file()


@pytest.mark.parametrize("names", [("train", "test"), ("external",)])
def test_evaluate__nested_class_folders_are_named(world, capsys, names):
    for number, path in enumerate(sorted((world / "images").glob("*.*g"))):
        folder = world / "classes" / names[number % len(names)] / ("blue", "red")[int(path.stem) % 2]
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    error = error_of(capsys, "bundle", "--data", "classes")
    assert re.search(
        r"--data=.*classes: the class folders are one level deeper, in .*Use one of these folders: --data ", error
    )


def test_evaluate__split_column_error_names_the_fix(world, capsys):
    table = world / "images" / "t.csv"
    table.write_text(table.read_text().replace("sex", "split"))
    error = error_of(capsys, "bundle", "--data", str(table), *LABEL_MAP)
    assert "the table has a column split, but all rows are evaluated" in error
    assert "protocol" not in error

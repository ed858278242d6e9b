import csv
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from medtune.cli.main import call
from medtune.serving import predict
from medtune.serving.bundle import Bundle
from medtune.serving.decode import decode
from medtune.serving.resize import resize_square

PROJECT = Path(__file__).resolve().parents[2]


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_main__predicts_files_and_folders_in_order(bundle_folder, image_folder, by_hand, capsys):
    single = image_folder / "c.bmp"
    assert call(["predict", str(bundle_folder), str(single), str(image_folder), "--batch-size", "2"]) == 0
    captured = capsys.readouterr()
    result = rows(captured.out)
    names = ["c.bmp", "a.PNG", "b.png", "deep/d.tif", "deep/e.jpg"]  # the single file is first, without a duplicate
    assert [row["path"] for row in result] == [(image_folder / name).as_posix() for name in names]
    assert list(result[0]) == ["path", "prediction", "prob_blue", "prob_red"]
    for name, row in zip(names, result, strict=True):
        image = resize_square(decode(image_folder / name).pixels, 8, "squash")
        expected = by_hand.probability(image[None])[0]
        np.testing.assert_allclose([float(row["prob_blue"]), float(row["prob_red"])], expected, atol=1e-5)
        assert row["prediction"] == ("red" if expected[1] >= 0.7 else "blue")
    assert "fp32 on CPUExecutionProvider; blue, red; red if prob_red >= 0.7" in captured.err
    assert "5 images in" in captured.err
    assert "images/s" in captured.err


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 50])
def test_predict_files__does_not_depend_on_the_batch_size(bundle_folder, image_folder, batch):
    bundle = Bundle.load(bundle_folder)
    paths = predict.find_images([image_folder])
    result = list(predict.predict_files(bundle, paths, batch, workers=3))
    assert [path for path, _ in result] == paths
    expected = np.concatenate([bundle.run(bundle.prepare(path)[None]) for path in paths])
    np.testing.assert_allclose(np.array([row[1:] for _, row in result]), expected, atol=1e-6)


def test_main__invalid_images_are_named_and_exit_with_1(bundle_folder, image_folder, tmp_path, capsys):
    (image_folder / "broken.png").write_bytes((image_folder / "b.png").read_bytes()[:40])
    (image_folder / "empty.jpg").write_bytes(b"")
    out = tmp_path / "predictions.csv"
    assert (
        call(["predict", str(bundle_folder), str(image_folder), str(image_folder / "notes.txt"), "--out", str(out)])
        == 1
    )
    captured = capsys.readouterr()
    assert len(rows(out.read_text())) == 5
    for name in ("broken.png", "empty.jpg", "notes.txt"):
        assert f"skipped {image_folder / name}: " in captured.err
    assert "3 skipped" in captured.err
    assert captured.out == ""
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_main__only_invalid_images_write_a_header_and_exit_with_1(bundle_folder, image_folder, capsys):
    assert call(["predict", str(bundle_folder), str(image_folder / "notes.txt")]) == 1
    assert capsys.readouterr().out == "path,prediction,prob_blue,prob_red\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{bundle}", "{images}/absent.png"], "absent.png does not exist"),
        (["{bundle}", "{empty}"], "no images under"),
        (["{empty}", "{images}"], "is not a bundle"),
        (["{bundle}", "{images}", "--precision", "fp16"], "has no fp16 model"),
        (["{bundle}", "{images}", "--out", "{empty}/absent/x.csv"], "--out"),
    ],
)
def test_main__invalid_input_gives_a_one_line_error_and_exit_code_2(
    bundle_folder, image_folder, tmp_path, capsys, arguments, message
):
    (tmp_path / "empty").mkdir()
    folders = {"bundle": bundle_folder, "images": image_folder, "empty": tmp_path / "empty"}
    assert call(["predict", *(argument.format(**folders) for argument in arguments)]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("fp32 on")]
    assert len(error) == 1
    assert error[0].startswith("error: ")
    assert message in error[0]


@pytest.mark.parametrize(
    "arguments", [["--batch-size", "0"], ["--threads", "x"], ["--provider", "abacus"], ["--unknown"]]
)
def test_main__invalid_options_give_a_one_line_error_and_exit_code_2(bundle_folder, image_folder, capsys, arguments):
    assert call(["predict", str(bundle_folder), str(image_folder), *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_open_output__failure_keeps_the_old_file(bundle_folder, image_folder, tmp_path):
    out = tmp_path / "predictions.csv"
    out.write_text("old")
    with pytest.raises(AttributeError), predict.open_output(out) as stream:
        print("half", None.absent, file=stream)
    assert out.read_text() == "old"


def test_find_images__does_not_follow_links(image_folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.png").write_bytes((image_folder / "b.png").read_bytes())
    (image_folder / "link").symlink_to(outside, target_is_directory=True)
    assert not [path for path in predict.find_images([image_folder]) if path.name == "x.png"]


def test_command__closed_pipe_exits_silently(bundle_folder, image_folder):
    command = [sys.executable, "-m", "medtune", "predict", str(bundle_folder), *[str(image_folder)], "--threads", "1"]
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(command, cwd=PROJECT, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert "Traceback" not in process.stderr
    assert "Broken pipe" not in process.stderr
    assert process.returncode == 1


def test_predict_files__decodes_while_the_network_computes(bundle_folder, image_folder, monkeypatch):
    """Let the first prediction wait until an image of the second batch is decoded."""
    paths = predict.find_images([image_folder])
    bundle, decoded, waited = Bundle.load(bundle_folder), threading.Event(), []
    prepare, run = Bundle.prepare, Bundle.run

    def prepare_after_run(self: Bundle, path: Path) -> np.ndarray:
        if path == paths[2]:
            second_batch.wait(30)
            decoded.set()
        return prepare(self, path)

    def run_after_prepare(self: Bundle, images: np.ndarray) -> np.ndarray:
        second_batch.set()
        waited.append(decoded.wait(30))
        return run(self, images)

    second_batch = threading.Event()
    monkeypatch.setattr(Bundle, "prepare", prepare_after_run)
    monkeypatch.setattr(Bundle, "run", run_after_prepare)
    assert len(list(predict.predict_files(bundle, paths, batch_size=2, workers=1))) == 5
    assert waited == [True, True, True]


def test_main__counts_skipped_files_of_a_folder(bundle_folder, image_folder, capsys):
    for name in (
        "._b.png",
        "deep/.DS_Store",
        "Thumbs.db",
        "deep/x.pdf",
        "deep/y.PDF",
        "__MACOSX/._b.png",
        "b_mask.png",
    ):
        (image_folder / name).parent.mkdir(exist_ok=True)
        (image_folder / name).write_bytes(
            (image_folder / "b.png").read_bytes() if name == "b_mask.png" else b"no image"
        )
    assert call(["predict", str(bundle_folder), str(image_folder)]) == 0
    captured = capsys.readouterr()
    assert len(rows(captured.out)) == 6
    assert (
        "left out: 1 .txt in .; 2 .pdf in deep; system files: 1 .DS_Store, 1 ._*, 1 Thumbs.db, 1 __MACOSX/"
        in captured.err
    )
    assert "1 images look like masks of others, for example b_mask.png" in captured.err


def test_main__folder_without_images_lists_its_content(bundle_folder, image_folder, tmp_path, capsys):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "x.gif").touch()
    assert call(["predict", str(bundle_folder), str(tmp_path / "scans")]) == 2
    assert "left out: 1 .gif in ." in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--json"]])
@pytest.mark.parametrize("to_file", [True, False])
def test_main__images_with_invalid_utf8_names_are_predicted(
    bundle_folder, image_folder, tmp_path, capsys, arguments, to_file
):
    with open(os.fsencode(image_folder) + b"/k\xf6rper.png", "wb") as stream:
        stream.write((image_folder / "b.png").read_bytes())
    out = tmp_path / "predictions.csv"
    options = [*arguments, "--out", str(out)] if to_file else arguments
    assert call(["predict", str(bundle_folder), str(image_folder), *options]) == 0
    text = out.read_text("utf-8") if to_file else capsys.readouterr().out
    paths = [entry["path"] for entry in (json.loads(text) if arguments else rows(text))]
    assert len(paths) == 6
    assert f"{image_folder.as_posix()}/k\\xf6rper.png" in paths


def test_main__terminal_without_unicode(bundle_folder, image_folder):
    (image_folder / "b.png").rename(image_folder / "Bild \u00fc.png")
    command = [sys.executable, "-m", "medtune", "predict", str(bundle_folder), str(image_folder)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    process = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, env=environment)
    assert process.returncode == 0, process.stderr
    assert "Bild \\xfc.png" in process.stdout
    assert len(rows(process.stdout)) == 5


@pytest.mark.parametrize("as_json", [True, False])
def test_write_predictions__failure_keeps_earlier_predictions(
    bundle_folder, image_folder, tmp_path, monkeypatch, capsys, as_json
):
    bundle, out = Bundle.load(bundle_folder), tmp_path / "predictions.csv"
    out.write_text("earlier predictions")
    run, batches = Bundle.run, []

    def fail_third(self: Bundle, images: np.ndarray) -> np.ndarray:
        batches.append(len(images))
        if len(batches) == 3:
            raise RuntimeError("the device is gone")
        return run(self, images)

    monkeypatch.setattr(Bundle, "run", fail_third)
    with pytest.raises(RuntimeError, match="the device is gone"):
        predict.write_predictions(bundle, predict.find_images([image_folder]), out, batch_size=2, as_json=as_json)
    partial = (tmp_path / "predictions.csv.partial").read_text()
    assert len(json.loads(partial) if as_json else rows(partial)) == 4
    assert out.read_text() == "earlier predictions"
    assert f"interrupted: {out}.partial contains the predictions so far" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir() if "predictions" in path.name) == [
        "predictions.csv",
        "predictions.csv.partial",
    ]

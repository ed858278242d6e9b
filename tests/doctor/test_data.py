"""Tests of the check of images."""

import zipfile
from pathlib import Path

from PIL import Image

from medtune.config.load import load
from medtune.data.synthetic.slide import write_slide
from medtune.doctor.check_result import Context
from medtune.doctor.data import check_data
from medtune.runtime.paths import RunPaths

FOLDER = ("data.source=folder", "data.split.protocol=image", "data.positive=b")


def make_context(root: Path, *sets: str) -> Context:
    return Context(load(sets=[*FOLDER, f"data.root={root}", *sets]), RunPaths(root, root / "cache"))


def write_images(root: Path, count: int = 3) -> Path:
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(root / label / f"{number}.png")
    return root


def test_data__counts_and_times_the_images(tmp_path: Path) -> None:
    context = make_context(write_images(tmp_path / "set"))
    result = check_data(context)
    assert result.state == "ok", result
    assert result.message.startswith("6 images in ")
    assert context.facts["images"] == 6
    assert context.facts["decode_s"] > 0


def test_data__missing_root_is_an_error(tmp_path: Path) -> None:
    result = check_data(make_context(tmp_path / "missing"))
    assert result.state == "wrong"
    assert "no such path" in result.message
    assert "data.root" in result.fix


def test_data__unusable_image_is_an_error(tmp_path: Path) -> None:
    root = write_images(tmp_path / "set")
    (root / "a" / "0.png").write_bytes(b"not an image")
    result = check_data(make_context(root))
    assert result.state == "wrong"
    assert "1 of 6 sampled images are unusable: a/0.png: " in result.message
    assert check_data(make_context(root, "data.on_bad_image=reject")).state == "warning"


def test_data__two_classes_need_a_positive_class(tmp_path: Path) -> None:
    result = check_data(make_context(write_images(tmp_path / "set"), "data.positive=null"))
    assert result.state == "wrong"
    assert "two classes, a and b" in result.message


def test_data__archive_is_opened_and_not_unpacked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "set"
    root.mkdir()
    with zipfile.ZipFile(root / "images.zip", "w") as bundle:
        bundle.writestr("a/0.png", b"x")
    context = make_context(root)
    assert "first file a/0.png" in check_data(context).message
    assert "images" not in context.facts
    assert not (tmp_path / "cache").exists()
    (root / "images.zip").write_bytes(b"PK damaged")
    assert check_data(make_context(root)).state == "wrong"


def test_data__rejected_labels_are_an_error(tmp_path: Path) -> None:
    root = write_images(tmp_path / "set")
    (root / "a").rename(root / "unknown")
    result = check_data(make_context(root))
    assert result.state == "wrong"
    assert "label is 'unknown'" in result.message


def test_data__slides_are_divided_into_tiles(tmp_path: Path) -> None:
    for number in range(4):
        write_slide(tmp_path / "set" / "ab"[number % 2] / f"{number}.tif", number, side=512)
    context = make_context(tmp_path / "set", "data.source=slides", "data.tiles.size_um=32", "data.image_size=32")
    result = check_data(context)
    assert result.state == "ok", result
    assert result.message.startswith("4 slides in ")
    assert context.facts["images"] > 4 * 4
    write_slide(tmp_path / "set" / "b" / "1.tif", 1, side=512, mpp=None)
    result = check_data(context)
    assert result.state == "wrong"
    assert "data.tiles.mpp" in result.message

"""What `medtune.doctor` says of the images."""

import zipfile
from pathlib import Path

from PIL import Image

from medtune.config.load import load
from medtune.data.synthetic.slide import write_slide
from medtune.doctor.check_result import Context
from medtune.doctor.data import check_data
from medtune.runtime.paths import RunPaths

FOLDER = ("data.source=folder", "data.split.protocol=image", "data.positive=b")


def job(root: Path, *sets: str) -> Context:
    return Context(load(sets=[*FOLDER, f"data.root={root}", *sets]), RunPaths(root, root / "cache"))


def pictures(root: Path, count: int = 3) -> Path:
    for label in ("a", "b"):
        (root / label).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(root / label / f"{number}.png")
    return root


def test_data__counts_and_times_the_images(tmp_path: Path) -> None:
    asked = job(pictures(tmp_path / "set"))
    found = check_data(asked)
    assert found.state == "ok", found
    assert found.message.startswith("6 images of source folder")
    assert asked.facts["images"] == 6
    assert asked.facts["decode_s"] > 0


def test_data__root_that_is_not_there(tmp_path: Path) -> None:
    found = check_data(job(tmp_path / "none"))
    assert found.state == "wrong"
    assert "does not exist" in found.message
    assert "data.root" in found.fix


def test_data__an_image_that_cannot_be_used(tmp_path: Path) -> None:
    root = pictures(tmp_path / "set")
    (root / "a" / "0.png").write_bytes(b"not a picture")
    found = check_data(job(root))
    assert found.state == "wrong"
    assert "1 of 6 sampled images are unusable: a/0.png: " in found.message
    assert check_data(job(root, "data.on_bad_image=reject")).state == "warning"


def test_data__two_classes_need_a_positive_one(tmp_path: Path) -> None:
    found = check_data(job(pictures(tmp_path / "set"), "data.positive=null"))
    assert found.state == "wrong"
    assert "two classes, a and b" in found.message


def test_data__an_archive_is_opened_and_not_unpacked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MEDTUNE_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "set"
    root.mkdir()
    with zipfile.ZipFile(root / "images.zip", "w") as bundle:
        bundle.writestr("a/0.png", b"x")
    asked = job(root)
    assert "first file a/0.png" in check_data(asked).message
    assert "images" not in asked.facts
    assert not (tmp_path / "cache").exists()
    (root / "images.zip").write_bytes(b"PK damaged")
    assert check_data(job(root)).state == "wrong"


def test_data__labels_that_stage_data_would_refuse(tmp_path: Path) -> None:
    root = pictures(tmp_path / "set")
    (root / "a").rename(root / "unknown")
    found = check_data(job(root))
    assert found.state == "wrong"
    assert "label is 'unknown'" in found.message


def test_data__slides_are_cut_into_tiles(tmp_path: Path) -> None:
    for number in range(4):
        write_slide(tmp_path / "set" / "ab"[number % 2] / f"{number}.tif", number, side=512)
    asked = job(tmp_path / "set", "data.source=slides", "data.tiles.size_um=32", "data.image_size=32")
    found = check_data(asked)
    assert found.state == "ok", found
    assert found.message.startswith("4 slides in ")
    assert asked.facts["images"] > 4 * 4
    write_slide(tmp_path / "set" / "b" / "1.tif", 1, side=512, mpp=None)
    found = check_data(asked)
    assert found.state == "wrong"
    assert "data.tiles.mpp" in found.message

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medtune.cli.detect import detect
from medtune.cli.detect_slides import TILE_PIXELS, find_slides, tile_size
from medtune.data.synthetic.slide import write_slide


@pytest.fixture
def root(tmp_path):
    for number in range(4):
        write_slide(tmp_path / ("no", "yes")[number % 2] / f"{number}.tif", number, side=512)
    return tmp_path


def test_detect__class_folders(root):
    result = detect(root)
    assert result.settings == {"data.source": "slides", "data.image_size": 128, "data.tiles.size_um": 64.0}
    assert result.findings[0] == ("slides", f"4 in {root}")
    assert ("classes", "one folder per class: no 2, yes 2") in result.findings
    assert ("tiles", "64 micrometers per side, 128 pixels; slides have 0.5 micrometers per pixel") in result.findings


def test_detect__table(root):
    lines = [f"{('no', 'yes')[n % 2]}/{n}.tif,{'ab'[n % 2]},P{n}" for n in range(4)]
    (root / "slides.csv").write_text("\n".join(["filename,diagnosis,case", *lines]) + "\n", encoding="utf-8")
    result = detect(root)
    assert result.settings["data.source"] == "slides"
    assert result.settings["data.csv"] == "slides.csv"
    assert result.settings["data.columns.patient"] == "case"
    assert result.settings["data.split.folds"] == 3  # two patients of each class


def test_detect__missing_information_is_a_warning(root):
    for number in range(4):
        write_slide(root / ("no", "yes")[number % 2] / f"{number}.tif", number, side=512, mpp=None)
    (root / "no" / "x.mrxs").write_bytes(b"x")
    result = detect(root)
    assert any("does not state its micrometers per pixel" in warning for warning in result.warnings)
    assert any(warning.startswith("no/x.mrxs: unsupported format") for warning in result.warnings)


def test_find_slides__ignores_single_images(tmp_path):
    assert find_slides(tmp_path / "absent") == []
    Image.new("RGB", (64, 64)).save(tmp_path / "a.tif")
    Image.new("RGB", (64, 64)).save(tmp_path / "b.png")
    assert find_slides(tmp_path) == []
    (tmp_path / "c.svs").write_bytes(b"x")
    assert find_slides(tmp_path) == ["a.tif", "c.svs"]


@given(st.floats(0.02, 20), st.floats(50, 1e5))
def test_tile_size__is_never_enlarged(mpp, side):
    size = tile_size(mpp, side)
    assert size >= round(mpp * TILE_PIXELS, 1)
    assert size <= max(mpp * TILE_PIXELS, 256) + 0.1

import subprocess
import sys

import numpy as np
import pytest
import tifffile
from pydantic import ValidationError

from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.data.sources import slides
from medtune.data.synthetic.slide import write_slide


def params(**options):
    return slides.Params(root="x", image_size=32, **({"tiles": {"size_um": 32.0}} | options))


@pytest.fixture
def root(tmp_path):
    for number in range(3):
        write_slide(tmp_path / ("no", "yes")[number % 2] / f"P{number}.tif", number, side=256)
    return tmp_path


def table(root, *rows, header="path,label,group"):
    (root / "t.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def test_list_samples__reads_class_folders_and_tables(root):
    samples = slides.list_samples(root, params(patient_pattern=r"(P\d)"))
    expected = [("no/P0.tif", "no", "P0"), ("no/P2.tif", "no", "P2"), ("yes/P1.tif", "yes", "P1")]
    assert [(sample.path, sample.label, sample.patient_id) for sample in samples] == expected
    table(root, *(",".join(row) for row in expected))
    assert [
        (sample.path, sample.label, sample.patient_id) for sample in slides.list_samples(root, params(csv="t.csv"))
    ] == expected


def test_cut__tiles_have_the_slide_patient_and_label(root):
    options = params(patient_pattern=r"(P\d)")
    tiled = slides.cut(slides.list_samples(root, options), root, options)
    assert [slide.path for slide in tiled.slides] == ["no/P0.tif", "no/P2.tif", "yes/P1.tif"]
    for tile, number in zip(tiled.tiles, tiled.slide_index.tolist(), strict=True):
        slide = tiled.slides[number]
        assert (tile.label, tile.patient_id, tile.metadata["slide_path"]) == (slide.label, slide.patient_id, slide.path)
        x, y = int(tile.metadata["tile_x"]), int(tile.metadata["tile_y"])
        level = tifffile.imread(root / slide.path, series=0, level=1)
        np.testing.assert_array_equal(tile.read(), level[y // 2 : y // 2 + 32, x // 2 : x // 2 + 32])
    assert len({tile.path for tile in tiled.tiles}) == len(tiled.tiles)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a.mrxs", "cannot be read. Convert it"), ("a.png", "not a whole-slide image")],
)
def test_list_samples__unsupported_format_is_an_error(root, name, reason):
    (root / name).write_bytes(b"x")
    table(root, "no/P0.tif,no,P0", f"{name},yes,P1")
    with pytest.raises(InputError, match=reason) as error:
        slides.list_samples(root, params(csv="t.csv"))
    assert "t.csv line 3" in str(error.value)


def test_list_samples__unsupported_format_in_a_class_folder_is_an_error(root):
    (root / "no" / "a.mrxs").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no/a\.mrxs: \.mrxs files cannot be read"):
        slides.list_samples(root, params())


def test_cut__slide_without_pixel_size_is_an_error_or_rejected(root):
    write_slide(root / "no" / "P2.tif", 2, side=256, mpp=None)
    listed = slides.list_samples(root, params())
    with pytest.raises(InputError, match=r"1 of 3 slides cannot be used: no/P2\.tif: .*data\.tiles\.mpp"):
        slides.cut(listed, root, params())
    tiled = slides.cut(listed, root, params(tiles={"size_um": 32.0, "mpp": 0.5}))
    assert [plan.mpp for plan in tiled.plans] == [(0.5, 0.5)] * 3
    accepted = slides.cut(listed, root, params(on_bad_image="reject"))
    assert [path for path, _ in accepted.rejected] == ["no/P2.tif"]
    assert set(accepted.slide_index.tolist()) == {0, 1}


def test_cut__reads_the_pixel_size_from_a_column(root):
    write_slide(root / "no" / "P2.tif", 2, side=256, mpp=None)
    options = params(csv="t.csv", tiles={"size_um": 16.0, "mpp_column": "um"})
    table(root, "no/P0.tif,no,P0,", 'no/P2.tif,no,P2,"0,25"', "yes/P1.tif,yes,P1,", header="path,label,group,um")
    tiled = slides.cut(slides.list_samples(root, options), root, options)
    assert [plan.mpp for plan in tiled.plans] == [(0.5, 0.5), (0.25, 0.25), (0.5, 0.5)]
    table(root, "no/P0.tif,no,P0,wide", header="path,label,group,um")
    with pytest.raises(InputError, match=r"t\.csv line 2: um is 'wide'"):
        slides.list_samples(root, options)
    table(root, "no/P0.tif,no,P0")
    with pytest.raises(InputError, match=r"mpp_column=um: t\.csv has no such column"):
        slides.list_samples(root, options)


def test_list_samples__other_columns_are_metadata(root):
    table(root, "no/P0.tif,no,P0,S1,7", header="path,label,group,slide,x")
    (slide,) = slides.cut(slides.list_samples(root, params(csv="t.csv")), root, params(csv="t.csv")).slides
    assert slide.metadata == {"slide": "S1", "x": "7"}
    table(root, "no/P0.tif,no,P0,7", header="path,label,group,tile_x")
    with pytest.raises(InputError, match="column name 'tile_x' is reserved for tiles"):
        slides.list_samples(root, params(csv="t.csv"))


def test_cut__reads_a_replaced_slide_again(root):
    options = params()
    listed = slides.list_samples(root, options)
    before = slides.cut(listed, root, options).tiles[0].read()
    write_slide(root / "no" / "P0.tif", 8, side=256)
    after = slides.cut(listed, root, options).tiles[0]
    level = tifffile.imread(root / "no" / "P0.tif", series=0, level=1)
    x, y = int(after.metadata["tile_x"]) // 2, int(after.metadata["tile_y"]) // 2
    np.testing.assert_array_equal(after.read(), level[y : y + 32, x : x + 32])
    assert not np.array_equal(before, after.read())


def test_params__column_needs_a_table():
    with pytest.raises(ValidationError, match=r"data\.csv is null"):
        params(tiles={"mpp_column": "um"})


def test_cut__error_of_a_missing_library_names_the_extra(root):
    code = (
        "import sys\nsys.modules['zarr'] = None\nimport importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'zarr' else find(name, *rest)\n"
        "from pathlib import Path\nfrom medtune.data.sources import slides\n"
        f"root = Path({str(root)!r})\nparams = slides.Params(root='x')\n"
        "slides.cut(slides.list_samples(root, params), root, params)"
    )
    process = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert 'Run pip install "medtune[wsi]"' in process.stderr.splitlines()[-1]

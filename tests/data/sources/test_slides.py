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


def params(**more):
    return slides.Params(root="x", image_size=32, **({"tiles": {"size_um": 32.0}} | more))


@pytest.fixture
def root(tmp_path):
    for number in range(3):
        write_slide(tmp_path / ("no", "yes")[number % 2] / f"P{number}.tif", number, side=256)
    return tmp_path


def table(root, *rows, header="path,label,group"):
    (root / "t.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def test_list_samples__class_folders_and_table(root):
    found = slides.list_samples(root, params(patient_pattern=r"(P\d)"))
    expected = [("no/P0.tif", "no", "P0"), ("no/P2.tif", "no", "P2"), ("yes/P1.tif", "yes", "P1")]
    assert [(one.path, one.label, one.patient_id) for one in found] == expected
    table(root, *(",".join(row) for row in expected))
    assert [(s.path, s.label, s.patient_id) for s in slides.list_samples(root, params(csv="t.csv"))] == expected


def test_cut__tiles_carry_slide_patient_and_label(root):
    chosen = params(patient_pattern=r"(P\d)")
    found = slides.cut(slides.list_samples(root, chosen), root, chosen)
    assert [slide.path for slide in found.slides] == ["no/P0.tif", "no/P2.tif", "yes/P1.tif"]
    for tile, number in zip(found.tiles, found.slide_index.tolist(), strict=True):
        slide = found.slides[number]
        assert (tile.label, tile.patient_id, tile.metadata["slide_path"]) == (slide.label, slide.patient_id, slide.path)
        x, y = int(tile.metadata["tile_x"]), int(tile.metadata["tile_y"])
        level = tifffile.imread(root / slide.path, series=0, level=1)
        np.testing.assert_array_equal(tile.read(), level[y // 2 : y // 2 + 32, x // 2 : x // 2 + 32])
    assert len({tile.path for tile in found.tiles}) == len(found.tiles)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a.mrxs", "cannot be read. Convert it"), ("a.png", "not a whole-slide image")],
)
def test_list_samples__other_files(root, name, reason):
    (root / name).write_bytes(b"x")
    table(root, "no/P0.tif,no,P0", f"{name},yes,P1")
    with pytest.raises(InputError, match=reason) as caught:
        slides.list_samples(root, params(csv="t.csv"))
    assert "t.csv line 3" in str(caught.value)


def test_list_samples__folder_with_unreadable_format(root):
    (root / "no" / "a.mrxs").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no/a\.mrxs: \.mrxs files cannot be read"):
        slides.list_samples(root, params())


def test_cut__without_mpp_names_the_fix(root):
    write_slide(root / "no" / "P2.tif", 2, side=256, mpp=None)
    listed = slides.list_samples(root, params())
    with pytest.raises(InputError, match=r"1 of 3 slides cannot be used: no/P2\.tif: .*data\.tiles\.mpp"):
        slides.cut(listed, root, params())
    given = slides.cut(listed, root, params(tiles={"size_um": 32.0, "mpp": 0.5}))
    assert [plan.mpp for plan in given.plans] == [(0.5, 0.5)] * 3
    left = slides.cut(listed, root, params(on_bad_image="reject"))
    assert [path for path, _ in left.rejected] == ["no/P2.tif"]
    assert set(left.slide_index.tolist()) == {0, 1}


def test_cut__mpp_from_a_column(root):
    write_slide(root / "no" / "P2.tif", 2, side=256, mpp=None)
    chosen = params(csv="t.csv", tiles={"size_um": 16.0, "mpp_column": "um"})
    table(root, "no/P0.tif,no,P0,", 'no/P2.tif,no,P2,"0,25"', "yes/P1.tif,yes,P1,", header="path,label,group,um")
    found = slides.cut(slides.list_samples(root, chosen), root, chosen)
    assert [plan.mpp for plan in found.plans] == [(0.5, 0.5), (0.25, 0.25), (0.5, 0.5)]
    table(root, "no/P0.tif,no,P0,wide", header="path,label,group,um")
    with pytest.raises(InputError, match=r"t\.csv line 2: um is 'wide'"):
        slides.list_samples(root, chosen)
    table(root, "no/P0.tif,no,P0")
    with pytest.raises(InputError, match=r"mpp_column=um: t\.csv has no such column"):
        slides.list_samples(root, chosen)


def test_list_samples__columns_keep_their_names(root):
    table(root, "no/P0.tif,no,P0,S1,7", header="path,label,group,slide,x")
    (found,) = slides.cut(slides.list_samples(root, params(csv="t.csv")), root, params(csv="t.csv")).slides
    assert found.metadata == {"slide": "S1", "x": "7"}
    table(root, "no/P0.tif,no,P0,7", header="path,label,group,tile_x")
    with pytest.raises(InputError, match="column name 'tile_x' is reserved for tiles"):
        slides.list_samples(root, params(csv="t.csv"))


def test_cut__reads_a_slide_again_that_was_replaced(root):
    chosen = params()
    listed = slides.list_samples(root, chosen)
    before = slides.cut(listed, root, chosen).tiles[0].read()
    write_slide(root / "no" / "P0.tif", 8, side=256)
    after = slides.cut(listed, root, chosen).tiles[0]
    level = tifffile.imread(root / "no" / "P0.tif", series=0, level=1)
    x, y = int(after.metadata["tile_x"]) // 2, int(after.metadata["tile_y"]) // 2
    np.testing.assert_array_equal(after.read(), level[y : y + 32, x : x + 32])
    assert not np.array_equal(before, after.read())


def test_params__column_needs_a_table():
    with pytest.raises(ValidationError, match=r"data\.csv is null"):
        params(tiles={"mpp_column": "um"})


def test_cut__missing_library_names_the_extra(root):
    code = (
        "import sys\nsys.modules['zarr'] = None\nimport importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'zarr' else find(name, *rest)\n"
        "from pathlib import Path\nfrom medtune.data.sources import slides\n"
        f"root = Path({str(root)!r})\nparams = slides.Params(root='x')\n"
        "slides.cut(slides.list_samples(root, params), root, params)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert 'Run pip install "medtune[wsi]"' in done.stderr.splitlines()[-1]

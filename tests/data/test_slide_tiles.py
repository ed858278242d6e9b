from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from medtune.config.errors import InputError
from medtune.data.sample import Sample
from medtune.data.slide_tiles import cut_slides, draw_overview, write_overviews
from medtune.data.synthetic.slide import draw_slide, write_pyramid, write_slide
from medtune.serving.slides.tile_settings import TileSettings

SETTINGS = TileSettings(size_um=32.0, pixels=32, overlap=0.0, max_per_slide=None, min_tissue=0.5, seed=0)


@pytest.fixture
def tiled(tmp_path):
    image = draw_slide(0, 512, 0)
    write_pyramid(tmp_path / "a.tif", image, 0.5, 3)
    write_pyramid(tmp_path / "a_copy.tif", image, 0.5, 3)
    noisy = np.clip(image + np.random.default_rng(0).integers(-2, 3, image.shape), 0, 255).astype(np.uint8)
    write_pyramid(tmp_path / "a_again.tif", noisy, 0.5, 3)
    for number in range(4):
        write_slide(tmp_path / f"b{number}.tif", 10 + number, side=512, kind=0)
    names = sorted(path.name for path in tmp_path.glob("*.tif"))
    return cut_slides([Sample(name, "x", name) for name in names], tmp_path, SETTINGS, lambda slide: None)


def test_copies__finds_exact_and_near_copies_of_a_slide(tiled):
    names = [slide.path for slide in tiled.slides]
    copies = tiled.copies()
    assert [{names[row] for row in rows} for rows in copies.exact] == [{"a.tif", "a_copy.tif"}]
    near = {frozenset((names[first], names[second])) for first, second, _ in copies.near.tolist()}
    assert near == {frozenset(("a.tif", "a_again.tif")), frozenset(("a_copy.tif", "a_again.tif"))}


def test_select__removes_slides_without_tiles(tiled):
    rows = [row for row, number in enumerate(tiled.slide_index.tolist()) if number in (1, 3)][1:]
    selected = tiled.select(rows)
    assert [slide.path for slide in selected.slides] == [tiled.slides[1].path, tiled.slides[3].path]
    assert [selected.slides[number].path for number in selected.slide_index] == [
        tile.metadata["slide_path"] for tile in selected.tiles
    ]
    assert sum(entry["tiles"] for entry in selected.report()) == len(rows)


def test_overviews__show_mask_and_tiles(tiled, tmp_path):
    write_overviews(tmp_path / "out", tiled)
    entries = tiled.report()
    assert len(entries) == len(list((tmp_path / "out").iterdir())) == 7
    for entry, plan in zip(entries, tiled.plans, strict=True):
        image = np.asarray(Image.open(tmp_path / "out" / entry["overview"].removeprefix("slides/")))
        assert (image == (0, 0, 220)).all(axis=2).sum() > 20
        assert image.shape == np.asarray(draw_overview(plan)).shape == plan.overview.shape
        assert entry["tiles"] == entry["candidates"] == len(plan.positions)


def test_copies__different_slides_are_not_copies(tmp_path):
    for number, side in enumerate((512, 640)):
        write_slide(tmp_path / f"{number}.tif", number, side=side, kind=number)
    slides = [Sample(f"{number}.tif", "x", f"P{number}") for number in range(2)]
    copies = cut_slides(slides, tmp_path, SETTINGS, lambda slide: None).copies()
    assert list(copies.exact) == []
    assert len(copies.near) == 0


def test_notes__report_absent_stored_tiles(tiled):
    assert tiled.notes() == []
    assert "absent_stored_tiles" not in tiled.report()[0]
    incomplete = replace(tiled, plans=[replace(tiled.plans[0], absent=(3, 16)), *tiled.plans[1:]])
    (note,) = incomplete.notes()
    assert note.startswith("1 of 7 slides lack stored tiles, which are shown white (a.tif: 3 of 16)")
    assert incomplete.report()[0]["absent_stored_tiles"] == 3


@pytest.mark.parametrize(("mpp", "accepted"), [(0.5, True), (0.51, True), (0.25, False), (None, True)])
def test_cut__pixel_size_of_the_table_must_agree_with_the_file(tmp_path, mpp, accepted):
    write_slide(tmp_path / "a.tif", 0, side=512, kind=0, mpp=0.5)
    slides = [Sample("a.tif", "x", "P")]
    if accepted:
        assert len(cut_slides(slides, tmp_path, SETTINGS, lambda slide: None, False, lambda slide: mpp).tiles) > 0
    else:
        with pytest.raises(InputError, match=r"a\.tif: the table states 0\.25 micrometers.*the file states 0\.5"):
            cut_slides(slides, tmp_path, SETTINGS, lambda slide: None, False, lambda slide: mpp)

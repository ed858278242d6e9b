from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medtune.data.synthetic.slide import draw_slide, write_pyramid, write_slide
from medtune.serving.pixels import DecodeError
from medtune.serving.slides.slide import Slide
from medtune.serving.slides.tile_settings import TileSettings
from medtune.serving.slides.tiling import plan_tiles, read_tile, resolve_mpp

SETTINGS = TileSettings(size_um=64.0, pixels=64, overlap=0.0, max_per_slide=None, min_tissue=0.5, seed=0)
MPP = (0.5, 0.5)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("slides") / "a.tif"
    write_slide(file, 3, side=1024)
    return file


def plan(path, settings=SETTINGS, mpp=MPP):
    with Slide.open(path) as slide:
        return plan_tiles(slide, settings, mpp)


def test_plan__tiles_form_a_grid(path):
    result = plan(path)
    assert result.tile == (128.0, 128.0)
    assert result.level == 1
    assert len(result.positions) == result.n_candidates > 10
    assert all(x % 128 == 0 and y % 128 == 0 and 0 <= x <= 896 and 0 <= y <= 896 for x, y in result.positions)
    assert list(result.positions) == sorted(result.positions, key=lambda position: position[::-1])


def test_plan__only_tiles_with_tissue_are_selected(path):
    image = tifffile.imread(path, series=0, level=0).astype(int)
    stained = (image.max(2) - image.min(2)) / image.max(2) > 0.1
    selected = set(plan(path).positions)
    for y in range(0, 1024, 128):
        for x in range(0, 1024, 128):
            stained_fraction = stained[y : y + 128, x : x + 128].mean()
            assert stained_fraction > 0.35 if (x, y) in selected else stained_fraction < 0.65


def test_read_tile__equals_the_level_at_the_same_resolution(path):
    level = tifffile.imread(path, series=0, level=1)
    with Slide.open(path) as slide:
        for x, y in plan(path).positions[:5]:
            result = read_tile(slide, (x, y), SETTINGS, MPP)
            np.testing.assert_array_equal(result, level[y // 2 : y // 2 + 64, x // 2 : x // 2 + 64])


def test_read_tile__resamples_the_next_finer_level(path):
    settings = replace(SETTINGS, pixels=50)
    level = Image.fromarray(tifffile.imread(path, series=0, level=1))
    with Slide.open(path) as slide:
        result = read_tile(slide, (256, 384), settings, MPP)
    expected = level.crop((128, 192, 192, 256)).resize((50, 50), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(result, np.asarray(expected))


@pytest.mark.parametrize("mpp", [(0.5, 0.5), (0.31, 0.31), (0.5, 0.4), (0.2527, 0.2527)])
def test_read_tile__same_micrometers_for_any_pixel_size(tmp_path, mpp):
    # Brightness is proportional to x, so the slope of a tile reveals how many micrometers it spans.
    ramp = np.linspace(20, 230, 1200)[None, :, None] * np.ones((1200, 1, 3))
    write_pyramid(tmp_path / "a.tif", np.rint(ramp).astype(np.uint8), 0.5, 3)
    settings = replace(SETTINGS, size_um=100.0, pixels=40)
    with Slide.open(tmp_path / "a.tif") as slide:
        tile = read_tile(slide, (300, 300), settings, mpp).astype(float).mean(axis=(0, 2))
    per_pixel = 210 / 1199
    centers = 300 + (np.arange(40) + 0.5) * 100.0 / mpp[0] / 40
    np.testing.assert_allclose(tile[2:-2], (20 + per_pixel * (centers - 0.5))[2:-2], atol=1.0)


def test_plan__selection_depends_on_seed_and_content_but_not_on_the_name(path, tmp_path):
    limited = replace(SETTINGS, max_per_slide=6)
    first = plan(path, limited)
    copy = tmp_path / "other_name.tif"
    copy.write_bytes(path.read_bytes())
    assert plan(copy, limited).positions == first.positions
    assert plan(copy, limited).content == first.content
    assert plan(path, replace(limited, seed=1)).positions != first.positions
    assert set(first.positions) < set(plan(path, replace(limited, max_per_slide=9)).positions)
    write_slide(tmp_path / "b.tif", 4, side=1024)
    assert plan(tmp_path / "b.tif", limited).content != first.content


@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_plan__overlap_determines_the_step(path, overlap):
    columns = sorted({x for x, _ in plan(path, replace(SETTINGS, overlap=overlap, min_tissue=0.0)).positions})
    assert set(np.diff(columns)) == {128 * (1 - overlap)}
    assert columns[-1] <= 1024 - 128


def test_plan__slide_without_tissue_is_rejected(tmp_path):
    glass = np.full((512, 512, 3), 243, np.uint8)
    write_pyramid(tmp_path / "a.tif", glass, 0.5, 3)
    with pytest.raises(DecodeError, match="no tissue"):
        plan(tmp_path / "a.tif")
    with pytest.raises(DecodeError, match="no tissue"):
        plan(tmp_path / "a.tif", replace(SETTINGS, min_tissue=0.0))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"size_um": 600.0}, "smaller than one tile"), ({"pixels": 256}, "Use larger tiles")],
)
def test_plan__unsuitable_tile_sizes_are_rejected(path, changes, reason):
    with pytest.raises(DecodeError, match=reason):
        plan(path, replace(SETTINGS, **changes))


def test_resolve_mpp__file_takes_precedence(path, tmp_path):
    write_slide(tmp_path / "b.tif", 1, side=256, mpp=None)
    with Slide.open(path) as slide:
        assert resolve_mpp(slide, 0.25, "fix") == pytest.approx((0.5, 0.5))
    with Slide.open(tmp_path / "b.tif") as slide:
        assert resolve_mpp(slide, 0.25, "fix") == (0.25, 0.25)
        with pytest.raises(DecodeError, match="fix it so"):
            resolve_mpp(slide, None, "fix it so")


@given(
    st.integers(300, 700),
    st.integers(300, 700),
    st.floats(20, 120),
    st.floats(0, 0.9),
    st.sampled_from([0.25, 0.5, 1.0]),
)
def test_grid__covers_the_slide_without_exceeding_it(width, height, size_um, overlap, mpp):
    from medtune.serving.slides.tiling import _grid

    tile = (size_um / mpp, size_um / mpp)
    if tile[0] > min(width, height):
        return
    grid = _grid((width, height), tile, overlap)
    assert len(set(grid)) == len(grid) >= 1
    assert all(x >= 0 and x + tile[0] <= width + 1 and y >= 0 and y + tile[1] <= height + 1 for x, y in grid)
    step = tile[0] * (1 - overlap)
    assert width - (max(x for x, _ in grid) + tile[0]) < step + 1


def test_draw_slide__kinds_differ_in_texture_not_in_color():
    colors = [draw_slide(1, 256, kind)[100:150, 100:150].mean() for kind in range(3)]
    assert max(colors) - min(colors) < 40

import numpy as np
import pytest
import tifffile

from medtune.data.synthetic.slide import draw_slide
from medtune.serving.pixels import DecodeError
from medtune.serving.slides.absent import StoredTiles
from medtune.serving.slides.slide import Slide
from medtune.serving.slides.tile_settings import TileSettings
from medtune.serving.slides.tiling import plan_tiles, read_tile

STORED, SIDE = 64, 512
SETTINGS = TileSettings(32.0, 32, 0.0, None, 0.5, 0)
MPP = (0.5, 0.5)


@pytest.fixture
def slide(tmp_path):
    """Write a pyramid without the given stored tiles (level, row, column)."""

    def write(*absent, size=SIDE):
        path = tmp_path / "slide.tif"
        pixels = draw_slide(0, SIDE, 0)[:size]
        options = {"tile": (STORED, STORED), "photometric": "rgb", "compression": "zlib", "metadata": None}
        with tifffile.TiffWriter(path) as out:
            out.write(pixels, subifds=2, resolution=(20_000, 20_000), resolutionunit="CENTIMETER", **options)
            out.write(pixels[::2, ::2], subfiletype=1, **options)
            out.write(pixels[::4, ::4], subfiletype=1, **options)
        with tifffile.TiffFile(path, mode="r+b") as file:
            for number, level in enumerate(file.series[0].levels):
                page = level.pages[0].aspage()
                columns = -(-page.imagewidth // STORED)
                for name in ("TileOffsets", "TileByteCounts"):
                    values = list(page.tags[name].value)
                    for _, row, column in (tile for tile in absent if tile[0] == number):
                        values[row * columns + column] = 0
                    page.tags[name].overwrite(values)
        return path, pixels

    return write


def plan(path):
    with Slide.open(path) as opened:
        return plan_tiles(opened, SETTINGS, MPP)


def test_read__missing_stored_tile_is_white(slide):
    path, pixels = slide((0, 3, 4))
    with Slide.open(path) as opened:
        result = opened.read(0, (0, 0, SIDE, SIDE))
        assert np.argwhere(opened.stored_tiles(0).absent).tolist() == [[3, 4]]
        assert not opened.stored_tiles(1).absent.any()
    hole = (slice(3 * STORED, 4 * STORED), slice(4 * STORED, 5 * STORED))
    assert (result[hole] == 255).all()
    result[hole] = pixels[hole]
    assert np.array_equal(result, pixels)


def test_plan__missing_tiles_of_glass_are_accepted_and_counted(slide):
    complete = plan(slide()[0])
    corners = [(1, 0, 0), (1, 0, 3), (1, 3, 0), (2, 0, 0)]
    path, _ = slide(*corners[:3])
    result = plan(path)
    assert (result.level, result.absent, complete.absent) == (1, (3, 16), (0, 16))
    assert result.positions == complete.positions
    with Slide.open(path) as opened:
        tiles = [read_tile(opened, position, SETTINGS, MPP) for position in result.positions]
    assert min(tile.mean() for tile in tiles) > 60


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        ([(1, 1, 1)], "damaged: 1 of 16 stored tiles are missing, also where the overview shows tissue"),
        ([(2, 0, 0)], "damaged: 1 of 4 stored tiles of the overview are missing, but not those of a higher"),
    ],
)
def test_plan__missing_tiles_of_tissue_are_rejected(slide, absent, message):
    with pytest.raises(DecodeError, match=message):
        plan(slide(*absent)[0])


def test_plan__unused_levels_may_lack_tiles(slide):
    assert plan(slide((0, 3, 3))[0]).positions == plan(slide()[0]).positions


def test_stored_tiles__boxes_are_fractions_of_the_slide():
    stored = StoredTiles(np.array([[False, False], [False, True]]), (0.6, 0.7))
    (box,) = stored.boxes()
    assert [(axis.start, axis.stop) for axis in box] == [(0.6, 1.0), (0.7, 1.0)]
    assert not stored.present_within(box)
    assert stored.present_within((slice(0, 1), slice(0, 1)))


def test_stored_tiles__partial_tiles_at_the_border_are_included(slide):
    path, _ = slide((1, 3, 0), size=400)
    with Slide.open(path) as opened:
        stored = opened.stored_tiles(1)
    assert stored.absent.shape == (4, 4)
    assert stored.step == (64 / 200, 64 / 256)

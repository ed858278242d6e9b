import csv

import numpy as np
import pytest

from medtune.data.synthetic.slide import write_slide
from medtune.serving.bundle import Bundle
from medtune.serving.http import predict_uploads
from medtune.serving.manifest import BundleError
from medtune.serving.pixels import DecodeError
from medtune.serving.predict import find_images, write_predictions
from medtune.serving.slides.predict import predict_slide
from medtune.serving.slides.slide import SUFFIXES, Slide
from medtune.serving.slides.tile_settings import TileSettings
from medtune.serving.slides.tiling import plan_tiles, read_tile

SETTINGS = TileSettings(size_um=32.0, pixels=8, overlap=0.0, max_per_slide=20, min_tissue=0.5, seed=0)
SLIDES = {"tiles": SETTINGS.document(), "aggregation": "mean", "temperature": 0.5}


@pytest.fixture
def bundle(by_hand, tmp_path):
    return Bundle.load(by_hand.write(tmp_path / "bundle", **SLIDES))


@pytest.fixture
def slides(tmp_path):
    for number in range(2):
        write_slide(tmp_path / "slides" / f"{number}.tif", number, side=512)
    write_slide(tmp_path / "slides" / "no_mpp.tif", 5, side=512, mpp=None)
    return tmp_path / "slides"


def expected_slide(by_hand, path):
    with Slide.open(path) as slide:
        plan = plan_tiles(slide, SETTINGS, (0.5, 0.5))
        tiles = np.stack([read_tile(slide, position, SETTINGS, (0.5, 0.5)) for position in plan.positions])
    tile_probabilities = by_hand.probability(tiles)
    mean = tile_probabilities.mean(axis=0)
    return plan, tile_probabilities, mean**2 / (mean**2).sum()


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_predict_slide__scales_the_mean_of_the_tiles(bundle, slides, by_hand, batch_size):
    plan, tiles, expected = expected_slide(by_hand, slides / "0.tif")
    result = predict_slide(bundle, slides / "0.tif", batch_size)
    np.testing.assert_allclose(result.row[1:], expected, atol=1e-5)
    np.testing.assert_allclose(result.tiles, tiles, atol=1e-5)
    assert result.plan.positions == plan.positions
    assert result.row[0] == ("red" if expected[1] >= 0.7 else "blue")


def test_write_predictions__has_a_row_per_slide_and_per_tile(bundle, slides, by_hand, tmp_path, capsys):
    paths = find_images([slides], SUFFIXES)
    skipped = write_predictions(bundle, paths, tmp_path / "p.csv", tiles_file=tmp_path / "t.csv")
    assert skipped == 1
    assert "no_mpp.tif: the file does not state its micrometers per pixel (mpp). Give it with --mpp" in (
        capsys.readouterr().err
    )
    rows = list(csv.DictReader((tmp_path / "p.csv").open()))
    tiles = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert [row["path"].rpartition("/")[2] for row in rows] == ["0.tif", "1.tif"]
    for row in rows:
        plan, probabilities, expected = expected_slide(by_hand, slides / row["path"].rpartition("/")[2])
        slide_tiles = [tile for tile in tiles if tile["path"] == row["path"]]
        assert int(row["tiles"]) == len(slide_tiles) == len(plan.positions)
        assert [(int(tile["x"]), int(tile["y"])) for tile in slide_tiles] == list(plan.positions)
        np.testing.assert_allclose([float(tile["prob_red"]) for tile in slide_tiles], probabilities[:, 1], atol=1e-5)
        assert float(row["prob_red"]) == pytest.approx(expected[1], abs=1e-5)
    assert write_predictions(bundle, paths, tmp_path / "q.csv", mpp=0.5, as_json=True) == 0
    assert '"tiles": ' in (tmp_path / "q.csv").read_text()


def test_predict__python_and_http_agree(bundle, slides):
    path = slides / "0.tif"
    expected = predict_slide(bundle, path)
    (result,) = bundle.predict(str(path))
    assert result.probabilities == {"blue": expected.row[1], "red": expected.row[2]}
    valid, invalid = predict_uploads(bundle, [("0.tif", path.read_bytes()), ("b.png", b"x")])
    assert valid["probabilities"] == result.probabilities
    assert valid["tiles"] == len(expected.tiles)
    assert "predicts whole-slide images" in invalid["error"]
    (unsupported,) = predict_uploads(bundle, [("c.mrxs", b"x")])
    assert ".mrxs files cannot be read" in unsupported["error"]


def test_predict__single_images_are_rejected(bundle, image_folder):
    with pytest.raises(DecodeError, match="predicts whole-slide images"):
        bundle.predict(str(image_folder / "b.png"))
    with pytest.raises(DecodeError, match="predicts whole-slide images"):
        bundle.predict(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DecodeError, match="predicts whole-slide images"):
        bundle.prepare(image_folder / "b.png")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"aggregation": "median"}, "aggregation"),
        ({"tiles": None}, "tiles"),
        ({"tiles": SETTINGS.document() | {"pixels": 16}}, r"tiles\.pixels"),
        ({"temperature": 0}, "temperature"),
    ],
)
def test_load__error_names_invalid_fields(by_hand, tmp_path, changes, field):
    folder = by_hand.write(tmp_path / "bundle", **(SLIDES | changes))
    with pytest.raises(BundleError, match=field):
        Bundle.load(folder)

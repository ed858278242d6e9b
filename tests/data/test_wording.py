"""Words for images, slides and volumes in messages."""

import pytest

from medtune.data.wording import wording


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({}, ("images", "pixels", "mm", "1,000 mm²", 2)),
        ({"n_slides": 3}, ("slides", "pixels", "mm", "1,000 mm²", 2)),
        ({"volumes": {}}, ("volumes", "voxels", "mm", "ml", 3)),
        ({"volumes": {"images": {"pixel_mm": [1.0, 1.0]}}}, ("images", "pixels", "pixels", "1,000 pixels", 2)),
        ({"volumes": {"images": {"pixel_mm": [0.5, 0.5]}}}, ("images", "pixels", "mm", "1,000 mm²", 2)),
        ({"volumes": {"images": {"pixel_mm": None}}}, ("images", "pixels", "mm", "1,000 mm²", 2)),
    ],
)
def test_wording__has_the_units_of_the_data(info, words):
    found = wording(info)
    assert (found.items, found.points, found.length, found.size, found.n_axes) == words


def test_title__has_the_units_of_the_data():
    images = wording({"volumes": {"images": {"pixel_mm": [1.0, 1.0]}}})
    assert images.title("mean HD95 (mm)") == "mean HD95 (pixels)"
    assert images.title("volume error (ml)") == "area error (1,000 pixels)"
    assert wording({"volumes": {}}).title("volume error (ml)") == "volume error (ml)"

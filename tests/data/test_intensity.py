"""Intensity range of a data set, determined from its files or set by the user, and stored for inference."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medtune.config.data import IntensityParams
from medtune.config.errors import InputError
from medtune.data.intensity import PixelRange, describe, describe_confounding, measure, resolve
from medtune.data.packing import IMAGES_FILE, PackResult, pack
from medtune.data.sample import Sample
from medtune.serving.decode import decode
from medtune.serving.intensity import Intensity
from medtune.serving.pixels import DecodedImage, DecodeError

AUTO = IntensityParams()
RNG = np.random.default_rng(0)
SIDE = 16


def image(largest: int, declared: tuple[float, float] | None = None) -> DecodedImage:
    return DecodedImage(np.array([[0, largest]], np.uint16), declared)


def resolved(params: IntensityParams, *images: DecodedImage) -> Intensity:
    return resolve(params, [measure(image, params) for image in images])


def packed(folder: Path, params: IntensityParams = AUTO, on_bad_image: str = "error") -> tuple[np.ndarray, PackResult]:
    files = sorted(file for file in folder.iterdir() if file.is_file())
    out = folder / "out"
    out.mkdir(exist_ok=True)
    result = pack([Sample(file.name, "a") for file in files], folder, out, SIDE, "squash", on_bad_image, params)
    return np.load(out / IMAGES_FILE), result


@settings(max_examples=60)
@given(st.lists(st.integers(16, 65535), min_size=1, max_size=5))
def test_resolve__smallest_usual_depth_for_every_value(largest: list[int]) -> None:
    high = resolved(AUTO, *map(image, largest)).high
    assert high in (255, 1023, 4095, 16383, 65535)
    assert high >= max(largest)
    assert high == 255 or max(largest) > (high + 1) / 4 - 1


@pytest.mark.parametrize(
    ("params", "images", "reason"),
    [
        (AUTO, [image(1000, (0, 1023)), image(900, (0, 4095))], "the files declare different ranges"),
        (AUTO, [image(1000, (0, 1023)), image(4000)], "other files have values up to 4000"),
        (AUTO, [image(3), image(1)], "they are black, or masks"),
        (IntensityParams(bits=10), [image(4000)], r"data\.intensity\.bits=10: values up to 4000 exceed 1023"),
        (IntensityParams(percentiles=(1, 2)), [DecodedImage(np.full((9, 9), 7, np.uint16))], "both are the value 7"),
    ],
)
def test_resolve__ambiguous_range_is_an_error(params: IntensityParams, images: list[DecodedImage], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        resolved(params, *images)


def test_resolve__follows_the_params() -> None:
    hounsfield = DecodedImage(np.array([[-1000.0, 0.0], [40.0, 3000.0]], np.float32))
    window = resolved(IntensityParams(window=(-160, 240)), hounsfield)
    assert (window.low, window.high, window.clip, window.apply_voi) == (-160, 240, True, False)
    assert resolved(IntensityParams(bits=12), image(900)).high == 4095
    ramp = DecodedImage(np.arange(1000, dtype=np.uint16).reshape(10, 100))
    between = resolved(IntensityParams(percentiles=(10, 90)), ramp)
    assert (between.low, between.high) == (pytest.approx(100, abs=2), pytest.approx(900, abs=2))
    assert resolved(AUTO, DecodedImage(np.zeros((4, 4, 3), np.uint8))) == Intensity()


@pytest.mark.parametrize(
    "pixels",
    [np.array([[-5, 9]], np.int16), np.array([[0.5, 1.0]], np.float32), np.array([[70_000]], np.uint32)],
)
def test_measure__unknown_range_is_a_bad_image(pixels: np.ndarray) -> None:
    with pytest.raises(DecodeError, match=r"data\.intensity\.window"):
        measure(DecodedImage(pixels), AUTO)
    assert measure(DecodedImage(pixels), IntensityParams(window=(0, 10))) is not None


def test_describe__dark_images_are_counted() -> None:
    ranges = [measure(image(largest), AUTO) for largest in (4000, 300)]
    note = describe(resolve(AUTO, ranges), ranges)
    assert note is not None
    assert note.endswith("0 to 4095 became 0 to 255; 1 of them use less than an eighth of this range and are dark")


def test_params__accept_one_range() -> None:
    with pytest.raises(ValueError, match="bits is set too"):
        IntensityParams(bits=12, window=(0, 1))
    with pytest.raises(ValueError, match="must be below"):
        IntensityParams(window=(5, 5))


def test_pack__12_bit_images_equal_their_8_bit_copies(tmp_path: Path) -> None:
    for number in range(4):
        small = RNG.integers(0, 256, (SIDE, SIDE), np.uint8)
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "small").mkdir(exist_ok=True)
        deep = np.rint(small / 255 * 4095).astype(np.uint16)
        deep[0, 0] = 4095
        small[0, 0] = 255
        tifffile.imwrite(tmp_path / "deep" / f"{number}.tif", deep, metadata=None, photometric="minisblack")
        Image.fromarray(small).save(tmp_path / "small" / f"{number}.png")
    deep_pack, result = packed(tmp_path / "deep")
    small_pack, _ = packed(tmp_path / "small")
    assert np.array_equal(deep_pack, small_pack)
    assert (result.intensity.high, result.intensity.from_8_bit, result.intensity.from_deep) == (4095, False, True)
    assert result.notes == ("4 of 4 images have more than 8 bits (values up to 4095): 0 to 4095 became 0 to 255",)
    assert len(set(result.sha256)) == 4


def test_pack__gives_the_pixels_of_inference(tmp_path: Path) -> None:
    shapes = [(30, 20), (16, 16), (9, 40, 3)]
    for number, shape in enumerate(shapes):
        color = {"photometric": "rgb" if len(shape) == 3 else "miniswhite"}
        tifffile.imwrite(tmp_path / f"{number}.tif", RNG.integers(0, 1024, shape, np.uint16), metadata=None, **color)
    Image.fromarray(RNG.integers(0, 256, (30, 30, 3), np.uint8)).save(tmp_path / "3.png")
    images, result = packed(tmp_path)
    for row, file in zip(images, sorted(tmp_path.glob("*.*")), strict=True):
        assert np.array_equal(result.intensity.fit(decode(file), SIDE, "squash"), row)


def test_pack__bad_images_among_deep_images_are_left_out(tmp_path: Path) -> None:
    for number in range(3):
        tifffile.imwrite(tmp_path / f"{number}.tif", RNG.integers(0, 1024, (8, 8), np.uint16), metadata=None)
    tifffile.imwrite(tmp_path / "1.tif", RNG.random((8, 8), np.float32), metadata=None)
    with pytest.raises(InputError, match="1 of 3 images cannot be used"):
        packed(tmp_path)
    images, result = packed(tmp_path, on_bad_image="reject")
    assert result.selected == (0, 2)
    assert images.shape == (2, SIDE, SIDE, 3)
    assert images.any(axis=(1, 2, 3)).all()


def test_describe_confounding__depth_that_separates_classes():
    deep = PixelRange(0, 4000, None)
    note = describe_confounding(["a", "a", "b", "c", "c"], [None, None, deep, None, deep])
    assert note is not None
    assert note.startswith("Every image of a has 8 bits, and every image of b has more")
    for ranges in ([None] * 4, [deep] * 4, [None, deep, None, deep], [None, deep, None, None]):
        assert describe_confounding(["a", "a", "b", "b"], ranges) is None

"""Scaling of images with more than 8 bits, and rejection of images outside the range."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtune.serving import intensity
from medtune.serving.intensity import Intensity, to_uint8
from medtune.serving.pixels import DecodedImage, DecodeError

TRAINED_DEEP = Intensity(0, 4095, from_8_bit=False, from_deep=True)
TRAINED_8_BIT = Intensity()


def deep(largest: int, declared: tuple[float, float] | None = None, inverted: bool = False) -> DecodedImage:
    values = np.linspace(0, largest, 64).astype(np.uint16).reshape(8, 8)
    return DecodedImage(values, declared, inverted)


@settings(max_examples=50)
@given(st.integers(8, 16), st.integers(0, 2**16 - 1))
def test_to_uint8__restores_8_bit_values_within_one_level(bits: int, seed: int) -> None:
    original = np.random.default_rng(seed).integers(0, 256, (8, 8))
    stored = np.rint(original / 255 * (2**bits - 1)).astype(np.float32)
    result = to_uint8(stored, (0, 2**bits - 1))
    assert result.shape == (8, 8, 3)
    assert np.abs(result[..., 0].astype(int) - original).max() <= 1
    assert np.array_equal(to_uint8(stored, (0, 2**bits - 1), inverted=True), 255 - result)


def test_fit__8_bits_are_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert np.array_equal(TRAINED_8_BIT.fit(DecodedImage(pixels), 8, "squash"), pixels)


def test_fit__scales_by_the_range_of_the_training_images() -> None:
    result = TRAINED_DEEP.fit(deep(3000), 8, "squash")
    assert result.max() == round(3000 / 4095 * 255)
    assert TRAINED_DEEP.fit(deep(4095, inverted=True), 8, "squash")[0, 0, 0] == 255


@pytest.mark.parametrize(
    ("trained", "image", "reason"),
    [
        (TRAINED_8_BIT, deep(4095), "does not declare its range"),
        (TRAINED_DEEP, DecodedImage(np.zeros((8, 8, 3), np.uint8)), "an image of 8 bits"),
        (TRAINED_DEEP, deep(5000), "values 0 to 5000, but the model was trained on the range 0 to 4095"),
        (TRAINED_DEEP, deep(1000, (0, 1023)), "declares the range 0 to 1023"),
        (TRAINED_DEEP, DecodedImage(np.full((8, 8), np.nan, np.float32)), "NaN"),
    ],
)
def test_fit__rejects_another_depth_or_range(trained: Intensity, image: DecodedImage, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        trained.fit(image, 8, "squash")


def test_fit__model_of_8_bit_images_accepts_a_declared_range() -> None:
    original = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
    as_12_bits = DecodedImage(np.rint(original / 255 * 4095).astype(np.uint16), (0, 4095))
    assert np.array_equal(TRAINED_8_BIT.fit(as_12_bits, 8, "squash")[..., 0], original)


def test_fit__window_clips_values() -> None:
    window = Intensity(-160, 240, clip=True, from_8_bit=False, from_deep=True, apply_voi=False)
    values = np.array([[-1000.0, -160.0], [240.0, 3000.0]], np.float32)
    assert window.fit(DecodedImage(values), 2, "squash")[..., 0].tolist() == [[0, 0], [255, 255]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low": "0"}, "expected a number and a higher number"),
        ({"high": 0}, "expected a number and a higher number"),
        ({"clip": 1}, r"intensity\.clip\" is 1: expected true or false"),
    ],
)
def test_document__round_trip_and_validation(change: dict[str, object], message: str) -> None:
    document = TRAINED_DEEP.document()
    assert intensity.validate(document) is None
    assert Intensity.from_document(document) == TRAINED_DEEP
    result = intensity.validate({**document, **change})
    assert result is not None
    assert re.search(message, result)
    assert intensity.validate({"low": 0}) is not None
    assert intensity.validate(None) is None

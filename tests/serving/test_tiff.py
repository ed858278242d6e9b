"""Decoding of TIFF: every kind of file gives the written pixels or an error."""

import io
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tifffile

from medtune.serving.decode import decode
from medtune.serving.pixels import DecodedImage, DecodeError

RNG = np.random.default_rng(0)
DTYPES = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "float16", "float32", "float64"]
EXTRA = {1: [None], 3: [None], 2: ["unassalpha", "unspecified"], 4: ["unassalpha", "unspecified"], 5: ["unspecified"]}


def pixels(dtype: str, channels: int) -> np.ndarray:
    shape = (40, 48) if channels == 1 else (40, 48, channels)
    if dtype == "bool":
        return RNG.random(shape) > 0.5
    if dtype.startswith("float"):
        return (RNG.random(shape) * 1000).astype(dtype)
    limits = np.iinfo(dtype)
    return RNG.integers(max(limits.min, -3000), min(limits.max, 60_000), shape, endpoint=True).astype(dtype)


def variants(dtype: str) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
    """Draw pixels (h, w) or (h, w, c) and options for writing them: layout, compression and container."""
    kinds = itertools.product(
        ["miniswhite", "minisblack", "rgb"],
        ["contig", "separate"],
        [(None, False), ("lzw", False), ("zlib", True), ("packbits", False), ("zstd", False)],
        ["<", ">", "big"],
        [1, 2, 3, 4, 5],
        [None, (16, 16)],
    )
    for photometric, planar, (compression, predictor), container, channels, tile in kinds:
        if (photometric == "rgb") != (channels >= 3) or (planar == "separate" and channels == 1):
            continue
        for extra, opaque in itertools.product(EXTRA[channels], [True, False] if channels in (2, 4) else [True]):
            original = pixels(dtype, channels)
            colors = 3 if photometric == "rgb" else 1
            if channels in (2, 4) and opaque:
                original[..., -1] = 1 if original.dtype.kind in "fb" else np.iinfo(dtype).max
            yield (
                original,
                {
                    "photometric": photometric,
                    "planarconfig": planar if channels > 1 else None,
                    "compression": compression,
                    "predictor": predictor and dtype != "bool",
                    "byteorder": ">" if container == ">" else "<",
                    "bigtiff": container == "big",
                    "tile": tile,
                    "extrasamples": [extra] * (channels - colors) if extra else None,
                },
            )


def write(original: np.ndarray, options: dict[str, Any]) -> bytes | None:
    """Write the file; return None for a combination that tifffile does not support."""
    stream = io.BytesIO()
    layout = np.moveaxis(original, -1, 0) if options["planarconfig"] == "separate" else original
    try:
        tifffile.imwrite(stream, layout, metadata=None, **options)
    except (ValueError, NotImplementedError, TypeError, KeyError):
        return None
    return stream.getvalue()


def is_equal(decoded: DecodedImage, original: np.ndarray, options: dict[str, Any]) -> bool:
    """Compare with the written array instead of the result of another reader."""
    inverted = options["photometric"] == "miniswhite"
    alpha = None
    if options["extrasamples"]:
        alpha = original[..., -1] if options["extrasamples"] == ["unassalpha"] else None
        original = original[..., :-1]
    original = original[..., 0] if original.ndim == 3 and original.shape[2] == 1 else original
    if original.dtype not in (np.uint8, np.bool_):
        return (
            decoded.inverted == inverted
            and decoded.pixels.dtype == original.dtype
            and np.array_equal(decoded.pixels, original)
        )
    reference = original.astype(np.uint8) * (255 if original.dtype == np.bool_ else 1)
    reference = 255 - reference if inverted else reference
    reference = np.repeat(reference[..., None], 3, 2) if reference.ndim == 2 else reference
    if alpha is not None and alpha.dtype == np.uint8:
        opacity = alpha[..., None] / 255
        reference = np.rint(reference * opacity + 255 * (1 - opacity))
    return decoded.pixels.shape == reference.shape and np.abs(decoded.pixels.astype(int) - reference).max() <= 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_tiff__combinations_are_correct_or_rejected(dtype: str) -> None:
    outcome: Counter[str] = Counter()
    mismatches = []
    for original, options in variants(dtype):
        content = write(original, options)
        if content is None:
            continue
        try:
            equal = is_equal(decode(content), original, options)
        except DecodeError:
            outcome["rejected"] += 1
            continue
        outcome["equal" if equal else "different"] += 1
        if not equal:
            mismatches.append(options)
    assert mismatches == []
    assert outcome["equal"] > (50 if dtype == "bool" else 150), outcome


@pytest.mark.parametrize(("value", "declared"), [(4095, (0.0, 4095.0)), (3999, None), (1023, None)])
def test_tiff__max_sample_value_of_a_bit_depth_is_the_range(value: int, declared: Any) -> None:
    stream = io.BytesIO()
    original = np.full((8, 8), 2000, np.uint16)
    tifffile.imwrite(stream, original, metadata=None, extratags=[(281, 3, 1, value, True)])
    assert decode(stream.getvalue()).declared == declared


def test_tiff__several_pages_and_missing_strips_are_rejected() -> None:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels("uint16", 1)[None].repeat(3, 0), metadata=None, photometric="minisblack")
    with pytest.raises(DecodeError, match="3 pages in one file"):
        decode(stream.getvalue())
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels("uint16", 1), metadata=None)
    with pytest.raises(DecodeError, match="damaged"):
        decode(stream.getvalue()[:-100])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff__orientation_is_the_same_for_8_and_16_bits(orientation: int) -> None:
    original = pixels("uint8", 1)
    tag = [(274, 3, 1, orientation, True)]
    small, deep = io.BytesIO(), io.BytesIO()
    tifffile.imwrite(small, original, metadata=None, extratags=tag)
    tifffile.imwrite(deep, original.astype(np.uint16), metadata=None, extratags=tag)
    assert np.array_equal(decode(small.getvalue()).pixels[..., 0], decode(deep.getvalue()).pixels)

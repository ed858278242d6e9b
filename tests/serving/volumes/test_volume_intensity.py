"""Normalization of volumes: exact numbers, independent of the scale, refused where the result would be wrong."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.volume_intensity import VolumeIntensity, normalize

RNG = np.random.default_rng(0)
CT = VolumeIntensity("foreground", -100.0, 300.0, 80.0, 40.0)
VOLUME = RNG.gamma(2, 50, (1, 12, 13, 14)).astype(np.float32)


def zscore(values: np.ndarray) -> np.ndarray:
    """Return the definition of `zscore`, in float64 from the percentiles on."""
    values = np.clip(values, *np.percentile(values, (0.5, 99.5)).astype(values.dtype)).astype(np.float64)
    return (values - values.mean()) / values.std()


def test_zscore__has_mean_0_and_sd_1_after_clipping() -> None:
    result = normalize(VOLUME, [VolumeIntensity()])
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, zscore(VOLUME), atol=1e-5)
    assert result.mean(dtype=np.float64) == pytest.approx(0, abs=1e-6)
    assert result.std(dtype=np.float64) == pytest.approx(1, abs=1e-6)


@given(st.floats(-6, 6), st.floats(-100, 100))
def test_zscore__is_independent_of_scale_and_offset(exponent: float, offset: float) -> None:
    scaled = ((VOLUME.astype(np.float64) + offset) * 10**exponent).astype(np.float32)
    expected = normalize(VOLUME, [VolumeIntensity()])
    np.testing.assert_allclose(normalize(scaled, [VolumeIntensity()]), expected, atol=1e-4)


def test_zscore__large_offset_loses_no_digits() -> None:
    shifted = VOLUME + np.float32(1e6)
    np.testing.assert_allclose(normalize(shifted, [VolumeIntensity()]), zscore(shifted), atol=1e-6)


def test_zscore__outlier_does_not_change_the_other_voxels() -> None:
    volume = VOLUME.copy()
    volume[0, 3, 3, 3] = 1e7
    difference = np.abs(normalize(volume, [VolumeIntensity()]) - normalize(VOLUME, [VolumeIntensity()]))
    assert np.delete(difference.ravel(), np.ravel_multi_index((3, 3, 3), VOLUME.shape[1:])).max() < 0.02


def test_minmax__percentiles_become_0_and_1() -> None:
    low, high = np.percentile(VOLUME, (0.5, 99.5))
    result = normalize(VOLUME, [VolumeIntensity("minmax")])
    np.testing.assert_allclose(result, np.clip((VOLUME - low) / (high - low), 0, 1), atol=1e-6)
    assert (result.min(), result.max()) == pytest.approx((0, 1), abs=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float16, np.float64])
@pytest.mark.parametrize("rule", [VolumeIntensity(), VolumeIntensity("minmax"), VolumeIntensity.window(60, 80)])
def test_normalize__types_of_files(dtype: type, rule: VolumeIntensity) -> None:
    volume = RNG.integers(0, 200, (1, 6, 7, 8)).astype(dtype)
    expected = normalize(volume.astype(np.float32), [rule])
    np.testing.assert_array_equal(normalize(volume, [rule]), expected)


def test_window__ends_become_minus_1_and_1() -> None:
    volume = np.array([-1000, -10, 40, 65, 90, 3000], np.int16).reshape(1, 6, 1, 1)
    result = normalize(volume, [VolumeIntensity.window(level=40, width=100)])
    np.testing.assert_allclose(result.ravel(), [-1, -1, 0, 0.5, 1, 1])


def test_foreground__clips_and_scales() -> None:
    volume = np.array([-1000, 80, 120, 3000], np.float32).reshape(1, 4, 1, 1)
    np.testing.assert_allclose(normalize(volume, [CT]).ravel(), [-4.5, 0, 1, 5.5])


def test_normalize__one_rule_per_channel_and_unchanged_input() -> None:
    volume = np.concatenate([VOLUME, VOLUME * 10])
    before = volume.copy()
    result = normalize(volume, [VolumeIntensity(), CT])
    np.testing.assert_array_equal(result[:1], normalize(VOLUME, [VolumeIntensity()]))
    np.testing.assert_array_equal(result[1:], normalize(VOLUME * 10, [CT]))
    np.testing.assert_array_equal(volume, before)


@pytest.mark.parametrize(
    ("volume", "rules", "reason"),
    [
        (VOLUME, [CT, CT], "1 channels, but the model was trained on 2"),
        (np.full((1, 3, 3, 3), 7.0), [VolumeIntensity()], "constant: 99 % of the voxels are 7"),
        (np.eye(40).reshape(1, 40, 40, 1) * (np.arange(40) == 3), [VolumeIntensity()], "voxels are 0"),
        (np.full((1, 3, 3, 3), np.nan), [CT], "NaN or infinite voxels"),
        (np.array([0, np.inf]).reshape(1, 2, 1, 1), [VolumeIntensity()], "NaN or infinite voxels"),
        (np.array([0, 1e300]).reshape(1, 2, 1, 1), [VolumeIntensity()], "NaN or infinite voxels"),
        (VOLUME * 0 + 1000, [CT], "values 1000 to 1000 are outside of the range -100 to 300 of rule foreground"),
        (-VOLUME - 1000, [VolumeIntensity.window(40, 100)], "outside of the range -10 to 90 of rule window"),
    ],
)
def test_normalize__refuses(volume: np.ndarray, rules: list[VolumeIntensity], reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        normalize(volume, rules)


@pytest.mark.parametrize("rule", [VolumeIntensity(), VolumeIntensity.window(40, 400), CT])
def test_document__round_trip(rule: VolumeIntensity) -> None:
    assert VolumeIntensity.from_document(json.loads(json.dumps(rule.document()))) == rule


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"rule": "mean"}, 'intensity.rule" is "mean": expected "zscore", "minmax", "window" or "foreground"'),
        ({"rule": "zscore"}, "expected null for low, high, mean, sd"),
        ({"low": None}, 'intensity.low" is missing or null: expected a number'),
        ({"mean": True}, 'intensity.mean" is true'),
        ({"sd": float("nan")}, 'intensity.sd" is NaN'),
        ({"sd": 0}, "expected a high above low, and an sd above 0"),
        ({"low": 300}, "expected a high above low, and an sd above 0"),
    ],
)
def test_from_document__refuses(changed: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        VolumeIntensity.from_document(CT.document() | changed)


@pytest.mark.parametrize("values", [None, {"rule": "zscore"}, "zscore"])
def test_from_document__refuses_missing_fields(values: object) -> None:
    with pytest.raises(ValueError, match="expected the keys rule, low, high, mean, sd"):
        VolumeIntensity.from_document(values)  # type: ignore[arg-type]

import numpy as np
import pytest

from medtune.serving.volumes.training_range import TrainingRange, contrast_of, quantiles_of
from medtune.serving.volumes.volume_intensity import VolumeIntensity

WINDOW = VolumeIntensity.window(50, 400)
CT = TrainingRange.measure(
    [(10, 10, 10), (20, 10, 10)], [(1, 1, 2), (1, 1, 4)], [[[0, 10, 50, 80, 100]], [[10, 20, 60, 90, 110]]]
)


def differences(shape=(10, 10, 10), spacing=(1, 1, 2), quantiles=(0, 10, 50, 80, 100), rule=WINDOW, unit="mm"):
    return CT.differences(shape, spacing, [list(quantiles)], ["CT"], [rule], unit)


def test_measure__has_the_smallest_and_largest_values():
    assert CT.spacing == ((1, 1), (1, 1), (2, 4))
    assert CT.extent_mm == ((10, 20), (10, 10), (20, 40))
    assert CT.intensity[0][0] == (0, 10)
    assert CT.contrast[0][1] == pytest.approx((0.5, 0.5))
    assert TrainingRange.from_document(CT.document(), 1) == CT


def test_differences__have_a_margin():
    assert differences() == []
    assert differences(spacing=(1, 1, 1.7), shape=(10, 10, 12)) == []
    assert differences(spacing=(1, 1, 1.5), shape=(10, 10, 14)) == ["spacing z 1.5 mm (training 2 to 4 mm)"]
    assert differences(shape=(30, 10, 10)) == ["field of view x 30 mm (training 10 to 20 mm)"]
    assert differences(shape=(30, 10, 10), unit="pixels") == ["field of view x 30 pixels (training 10 to 20 pixels)"]
    assert differences(quantiles=(0, 10, 50, 80, 130)) == []
    assert differences(quantiles=(0, 10, 50, 80, 140)) == ["intensity of CT, percentile 95: 140 (training 100 to 110)"]


def test_differences__zscore_does_not_depend_on_the_scale():
    rule = VolumeIntensity()
    assert differences(quantiles=(0, 1e4, 5e4, 8e4, 1e5), rule=rule) == []
    inverted = differences(quantiles=(0, 1, 2, 3, 100), rule=rule)
    assert inverted[0] == "relative intensity of CT, percentile 50: 0.02 (training 0.5 to 0.5)"


@pytest.mark.parametrize("change", [{"spacing": None}, {"extent_mm": [[2, 1]] * 3}, {"intensity": []}, {"contrast": 3}])
def test_from_document__names_the_invalid_field(change):
    with pytest.raises(ValueError, match=rf"training_range\.{next(iter(change))}\" is"):
        TrainingRange.from_document({**CT.document(), **change}, 1)


def test_quantiles_of__reads_a_part_of_large_volumes(monkeypatch):
    data = np.random.default_rng(0).normal(size=(2, 20, 20, 20)).astype(np.float32)
    expected = np.percentile(data.reshape(2, -1), (5, 25, 50, 75, 95), axis=1).T
    np.testing.assert_allclose(quantiles_of(data), expected, rtol=1e-6)
    monkeypatch.setattr("medtune.serving.volumes.training_range.MAX_VOXELS", 2000)
    np.testing.assert_allclose(quantiles_of(data), expected, atol=0.2)


def test_contrast_of__constant_is_defined():
    assert contrast_of([1, 1, 1, 1, 1]) == [0.5] * 3

"""Numbers of the rule `foreground`, and the check of the scale."""

from pathlib import Path

import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.data.volume_intensity import check_scale, fit_foreground, value_range
from medtune.serving.volumes.volume_intensity import VolumeIntensity, normalize

SHAPE = (20, 21, 22)


def volume(seed: int, level: float = 100.0, channels: int = 1) -> tuple[str, np.ndarray, np.ndarray]:
    """Return a volume with a box of foreground, whose values have sd 20."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(SHAPE, np.uint8)
    mask[5:15, 5:15, 5:15] = 1 + seed % 2
    image = rng.normal(-500, 300, (channels, *SHAPE))
    image[:, mask > 0] = rng.normal(level, 20, (channels, int((mask > 0).sum())))
    return f"case {seed}", image.astype(np.float32), mask


def test_fit_foreground__numbers_of_all_foreground_voxels() -> None:
    volumes = [volume(0), volume(1, 140.0), volume(2)]
    (rule,) = fit_foreground(volumes, seed=0)
    values = np.concatenate([image[0][mask > 0] for _, image, mask in volumes]).astype(np.float64)
    assert (rule.mean, rule.sd) == pytest.approx((values.mean(), values.std()))
    assert [rule.low, rule.high] == pytest.approx(np.percentile(values, (0.5, 99.5)))
    result = normalize(volumes[0][1], [rule])
    assert np.abs(result).max() < 4


def test_fit_foreground__large_volume_has_at_most_10_000_voxels() -> None:
    large = np.full((1, 40, 40, 40), 10.0)
    large[0, :2] = 500  # outside of the foreground
    name, image, mask = volume(0)
    rule = fit_foreground([("large", large, (large[0] == 10).astype(np.uint8)), (name, image, mask)], 0)[0]
    expected = np.concatenate([np.full(10_000, 10.0), image[0][mask > 0]])
    assert rule.mean == pytest.approx(expected.mean())


def test_fit_foreground__selection_depends_on_the_seed_only() -> None:
    mask = np.ones((30, 30, 30), np.uint8)
    image = np.random.default_rng(0).normal(size=(1, 30, 30, 30))
    one, again, other = (fit_foreground([("a", image, mask)], seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    assert one[0].mean == pytest.approx(0, abs=0.05)


def test_fit_foreground__one_rule_per_channel() -> None:
    name, image, mask = volume(0, channels=2)
    image[1] *= 1000
    first, second = fit_foreground([(name, image, mask)], 0)
    assert second.sd == pytest.approx(1000 * first.sd, rel=0.2)


def test_fit_foreground__refuses_different_scales() -> None:
    name, image, mask = volume(3)
    with pytest.raises(InputError, match=r"rule=foreground: the volumes have different scales.* in case 0 .* case 3"):
        fit_foreground([volume(0), (name, image * 10_000, mask)], 0)


@pytest.mark.parametrize(
    ("volumes", "reason"),
    [
        ([], "no training volume has a label above 0"),
        ([("a", np.ones((1, *SHAPE)), np.zeros(SHAPE, np.uint8))], "no training volume has a label above 0"),
        ([("a", np.ones((1, *SHAPE)), np.ones(SHAPE, np.uint8))], "foreground voxels of the training volumes are 1"),
        ([volume(0), volume(1, channels=2)], "case 1 has 2 channels, and earlier volumes have 1"),
    ],
)
def test_fit_foreground__refuses(volumes: list[tuple[str, np.ndarray, np.ndarray]], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        fit_foreground(volumes, 0)


def test_fit_foreground__empty_volume_contributes_nothing() -> None:
    _, image, mask = volume(4)
    assert fit_foreground([volume(0), ("empty", image, mask * 0)], 0) == fit_foreground([volume(0)], 0)


def test_check_scale__only_for_rules_with_common_numbers() -> None:
    ranges = {"a": 1.0, "b": 10_000.0}
    check_scale("zscore", ranges)
    check_scale("window", {"a": 300.0, "b": 3000.0})
    with pytest.raises(InputError, match=r"rule=window: .* span 1 in a and 10000 in b\. Set"):
        check_scale("window", ranges)


def test_value_range__ignores_outliers() -> None:
    channel = np.linspace(0, 1, 8000, dtype=np.float32).reshape(20, 20, 20)
    channel[0, 0, 0] = 1e6
    assert value_range(channel) == pytest.approx(0.99, abs=0.01)


@pytest.mark.real
def test_hippocampus__only_zscore_has_a_common_scale(shared: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    images = sorted((shared / "hippocampus" / "imagesTr").glob("*.nii.gz"))
    channels = {image.name: np.asarray(nibabel.load(image).dataobj) for image in images}
    ranges = {name: value_range(channel) for name, channel in channels.items()}
    assert max(ranges.values()) > 1000 * min(ranges.values())
    with pytest.raises(InputError, match="different scales"):
        check_scale("foreground", ranges)
    for channel in channels.values():
        result = normalize(channel[None], [VolumeIntensity()])
        assert result.std(dtype=np.float64) == pytest.approx(1, abs=1e-5)
        assert np.abs(result).max() < 7

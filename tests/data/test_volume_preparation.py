import numpy as np
import pytest

from medtune.config.errors import InputError
from medtune.data.sources import phantom
from medtune.data.volume_inspection import describe
from medtune.data.volume_preparation import MAX_PATCH_VOXELS, plan_preparation
from medtune.data.volume_reading import LabeledVolume, read_labeled
from medtune.serving.volumes.volume_intensity import VolumeIntensity

NAMES = ("a", "b", "c")


def volume(spacing, shape=(64, 80, 96), scale=1.0):
    image = np.random.default_rng(0).normal(100, 20, (1, *shape)).astype(np.float32) * scale
    mask = np.zeros(shape, np.uint8)
    mask[4:8] = 1
    return LabeledVolume(image, mask, np.diag([*spacing, 1.0]), "RAS")


def plan(volumes, training=(0, 1, 2), **section):
    facts = [describe(item, 1) for item in volumes]
    return plan_preparation(phantom.Params(**section), NAMES, facts, training, volumes.__getitem__)


@pytest.fixture(scope="module")
def volumes():
    return [volume((1, 1, 1)), volume((1, 1, 2)), volume((3, 3, 3))]


def test_plan__takes_the_training_volumes_only(volumes):
    result = plan(volumes)
    assert result.preparation.spacing == (1, 1, 2)
    assert result.preparation.intensity == (VolumeIntensity(),)
    assert result.derived == ("spacing", "patch")
    assert plan(volumes, training=(2,)).preparation.spacing == (3, 3, 3)


def test_plan__patch_has_multiples_of_eight_voxels_and_at_most_64_cubed(volumes):
    patch = plan(volumes).patch
    assert all(side % 8 == 0 for side in patch)
    assert np.prod(patch) <= MAX_PATCH_VOXELS
    assert plan(volumes, patch=[10, 11, 12]).patch == (10, 11, 12)


def test_plan__foreground_is_fitted_on_the_training_volumes(volumes):
    other = [*volumes[:2], volume((1, 1, 1), scale=3.0)]
    section = {"intensity": {"rule": "foreground"}, "spacing": [1, 1, 1]}
    result = plan(other, training=(0, 1), **section)
    (rule,) = result.preparation.intensity
    assert rule.mean == pytest.approx(100, abs=1)
    assert result.derived == ("patch", "normalization")
    (both,) = plan(other, **section).preparation.intensity
    assert both.mean == pytest.approx(167, abs=2)


def test_plan__volume_that_cannot_be_prepared_is_an_error(volumes):
    scaled = [*volumes[:2], volume((1, 1, 1), scale=1000.0)]
    with pytest.raises(InputError, match=r"c: the values .* are outside of the window"):
        plan(scaled, training=(0, 1), intensity={"rule": "foreground"})
    with pytest.raises(InputError, match=r"rule=foreground: the volumes have different scales"):
        plan(scaled, intensity={"rule": "foreground"})
    with pytest.raises(InputError, match=r"data\.spacing=\[0\.01, 0\.01, 0\.01\]: a: .* Set a larger data\.spacing"):
        plan(volumes, spacing=[0.01, 0.01, 0.01])


def test_read_labeled__drawn_volume_must_fit_the_data_set():
    drawn = phantom.list_samples(None, phantom.Params(patients=3, size=16))[1].volume
    assert read_labeled(drawn, 1, 3).mask.max() == 3
    for channels, labels in ((2, 3), (1, 2)):
        with pytest.raises(ValueError, match="do not fit"):
            read_labeled(drawn, channels, labels)

"""Entry `volumes` of bundle.json: mirrored views and temperature, which older bundles lack."""

import numpy as np
import pytest

from medtune.serving.manifest import BundleError
from medtune.serving.volumes.bundle import VolumeBundle
from medtune.serving.volumes.sliding_window import mirrored
from tests.serving.volumes import tiny_volume_bundle as tiny
from tests.serving.volumes.volume_files import make_affine, write_nifti


def test_settings__of_an_older_bundle(tmp_path):
    settings = VolumeBundle.load(tiny.write_bundle(tmp_path / "bundle")).settings
    assert (settings.views, settings.temperature) == ((), 1.0)


def test_segment__uses_views_and_temperature(tmp_path):
    """The network of the tiny bundle reads single voxels, so that mirrored views give the same label map."""
    values = tiny.draw((16, 18, 9))
    file = write_nifti(tmp_path / "case.nii", values, make_affine(tiny.SPACING))
    plain = VolumeBundle.load(tiny.write_bundle(tmp_path / "plain")).segment(file)
    changed = VolumeBundle.load(tiny.write_bundle(tmp_path / "other", mirror_views=["z", "x"], temperature=4.0))
    assert (changed.settings.views, changed.settings.temperature) == ((0, 2), 4.0)
    calls = []
    result = changed.segment(file, on_progress=lambda done, total: calls.append(done))
    assert calls == list(range(1, 25))  # windows, not views
    assert np.array_equal(result.labels, plain.labels)
    assert all(hot > cold for hot, cold in zip(result.uncertainty, plain.uncertainty, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"mirror_views": ["x", "x"]},
            r"volumes.mirror_views\" is \[\"x\", \"x\"\]: expected a list of different axes of x, y and z",
        ),
        ({"mirror_views": [0]}, r"volumes.mirror_views\" is \[0\]"),
        ({"mirror_views": "x"}, 'volumes.mirror_views" is "x"'),
        ({"temperature": 0}, 'volumes.temperature" is 0: expected a positive number'),
    ],
)
def test_load__refuses_invalid_entries(tmp_path, changes, message):
    with pytest.raises(BundleError, match=message):
        VolumeBundle.load(tiny.write_bundle(tmp_path / "bundle", **changes))


@pytest.mark.parametrize("axes", [(), (1,), (0, 2), (0, 1, 2)])
def test_mirrored__runs_once_per_view(axes):
    calls = []

    def run(windows):
        calls.append(windows.copy())
        return windows * np.arange(4, dtype=np.float32)

    windows = np.random.default_rng(0).normal(size=(2, 1, 4, 4, 4)).astype(np.float32)
    result = mirrored(run, axes)(windows)
    assert len(calls) == 2 ** len(axes)
    flips = [tuple(axis + 2 for axis in axes if number >> axis & 1) for number in range(8)]
    expected = np.mean([np.flip(run(np.flip(windows, flip)), flip) for flip in {*flips}], axis=0)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)

"""The bundle for volumes: label maps on the grid of the file, flags, and clear errors."""

import nibabel as nib
import numpy as np
import pytest

from medtune.serving.bundle import Bundle
from medtune.serving.manifest import BundleError
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.bundle import VolumeBundle
from tests.robustness.tiny_bundle import write_bundle as write_image_bundle
from tests.serving.volumes import tiny_volume_bundle as tiny
from tests.serving.volumes.volume_files import make_affine, reoriented, write_nifti, write_series


@pytest.fixture
def bundle(tmp_path):
    return VolumeBundle.load(tiny.write_bundle(tmp_path / "bundle"))


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SRP"])
@pytest.mark.parametrize("angles", [(0, 0, 0), (0.1, -0.2, 0.05)])
def test_segment__labels_are_on_the_grid_of_the_file(tmp_path, bundle, orientation, angles):
    values = tiny.draw((16, 18, 9))
    data, affine = reoriented(values, make_affine(tiny.SPACING, angles), orientation)
    file = write_nifti(tmp_path / "case.nii.gz", np.ascontiguousarray(data), affine)
    result = bundle.segment(file)
    expected = tiny.expected_labels(data)
    assert np.array_equal(np.unique(expected), [0, 1, 2])
    assert np.array_equal(result.labels, expected)
    result.save(tmp_path / "labels.nii.gz")
    written, source = nib.load(tmp_path / "labels.nii.gz"), nib.load(file)
    assert np.array_equal(np.asarray(written.dataobj), expected)
    assert written.get_data_dtype() == np.uint8
    assert np.array_equal(written.affine, source.affine)
    for name in ("qform_code", "sform_code", "xyzt_units", "pixdim", "quatern_b", "srow_x"):
        assert np.array_equal(written.header[name], source.header[name])
    assert result.volumes_ml == pytest.approx([(expected == label).sum() * 2e-3 for label in (1, 2)])
    assert all(0 < value < 0.1 for value in result.uncertainty)
    assert result.flags == ()


def test_segment__resamples_and_returns_to_the_original_grid(tmp_path, bundle):
    values = tiny.draw((32, 32, 16))
    file = write_nifti(tmp_path / "case.nii", values, make_affine((0.5, 0.5, 1.0)))
    result = bundle.segment(file)
    assert result.labels.shape == values.shape
    assert (result.labels == tiny.expected_labels(values)).mean() > 0.97


def test_segment__a_label_that_is_absent_has_no_uncertainty(tmp_path, bundle):
    values = np.minimum(tiny.draw((16, 16, 8)), 250)
    result = bundle.segment(write_nifti(tmp_path / "case.nii", values, make_affine(tiny.SPACING)))
    assert result.volumes_ml[0] > 0
    assert result.volumes_ml[1] == 0
    assert np.isnan(result.uncertainty[1])


def test_segment__members_differ_and_their_mean_is_the_output(bundle):
    windows = np.random.default_rng(1).normal(0.5, 1, (3, 1, *tiny.PATCH)).astype(np.float32)
    first, second = (bundle.run_member(windows, member) for member in (0, 1))
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_allclose((first + second) / 2, bundle.run(windows), atol=1e-6)
    np.testing.assert_allclose(bundle.run(windows), tiny.probabilities(windows), atol=1e-5)


def test_segment__post_processing_keeps_the_largest_component(tmp_path):
    rule = {"largest": [1], "min_volume_mm3": 0.0}
    bundle = VolumeBundle.load(tiny.write_bundle(tmp_path / "bundle", post_processing=rule))
    values = np.full((16, 16, 8), 50, np.float32)
    values[2:6, 2:6, 2:6], values[10:12, 10:12, 3] = 200, 200
    file = write_nifti(
        tmp_path / "case.nii", values + np.eye(16, dtype=np.float32)[..., None], make_affine(tiny.SPACING)
    )
    assert (bundle.segment(file).labels == 1).sum() == 64
    assert (bundle.segment(file, post_processing=False).labels == 1).sum() == 68


def test_segment__flags_differences_from_the_training_volumes(tmp_path, bundle):
    values = 3 * tiny.draw((40, 16, 8))
    flags = bundle.segment(write_nifti(tmp_path / "case.nii", values, make_affine((1, 1, 1)))).flags
    assert flags[0] == "field of view x 40 mm (training 16 to 24 mm)"
    assert flags[1] == "spacing z 1 mm (training 2 to 3 mm)"
    assert any(flag.startswith("intensity of CT, percentile 95: ") for flag in flags)


def test_segment__flags_network_features(tmp_path):
    limit = {"limit": 1.0, "share": 0.95, "patients": 20, "width": 1}
    bundle = VolumeBundle.load(tiny.write_bundle(tmp_path / "bundle", feature_limit=limit))
    values = tiny.draw((16, 16, 8))
    like = bundle.segment(write_nifti(tmp_path / "a.nii", values, make_affine(tiny.SPACING)))
    assert like.flags == ()
    # Intensities of this volume are in the range of the training volumes.
    bright = np.where(np.indices(values.shape).sum(axis=0) % 4 == 0, values, values + 190)
    unlike = bundle.segment(write_nifti(tmp_path / "b.nii", bright, make_affine(tiny.SPACING)), batch_size=3)
    image = bundle.settings.preparation.apply(bright[None], tiny.SPACING)
    starts = [(x, y) for x in (0, 4, 8) for y in (0, 4, 8)]
    mean = np.mean([image[0, x : x + 8, y : y + 8].astype(np.float64).mean() for x, y in starts])
    assert unlike.flags[-1] == f"network features: distance {mean:.4g} (limit 1)"
    one = bundle.segment_prepared(image, (16, 16, 8), tiny.SPACING, member=1)
    np.testing.assert_allclose(one.features, [[mean]], rtol=1e-5)


def test_load__bundles_without_features_have_no_limit(tmp_path, bundle):
    assert bundle.settings.feature_limit is None
    assert "features" not in {node.name for node in bundle.session.get_outputs()}
    assert bundle.segment_prepared(np.zeros((1, 8, 8, 8), np.float16), (8, 8, 8), tiny.SPACING).features is None


def test_segment__reads_a_dicom_series(tmp_path, bundle):
    values = tiny.draw((16, 18, 9)).astype(np.int16)
    folder = write_series(tmp_path / "series", values, make_affine(tiny.SPACING))
    assert np.array_equal(bundle.segment(folder).labels, tiny.expected_labels(values))


def test_segment__reads_channels_from_files_or_the_fourth_axis(tmp_path):
    bundle = VolumeBundle.load(tiny.write_bundle(tmp_path / "bundle", ("T1", "T2")))
    values, other = tiny.draw((16, 16, 8)), tiny.draw((16, 16, 8), 1)
    affine = make_affine(tiny.SPACING)
    files = [write_nifti(tmp_path / f"{k}.nii", part, affine) for k, part in enumerate((values, other))]
    stacked = write_nifti(tmp_path / "both.nii", np.stack([values, other], axis=3), affine)
    expected = tiny.expected_labels(values)
    assert np.array_equal(bundle.segment(files).labels, expected)
    assert np.array_equal(bundle.segment(stacked).labels, expected)
    with pytest.raises(DecodeError, match=r"0\.nii: 1 channels; expected 2"):
        bundle.segment(files[0])


def test_self_test__detects_another_model(tmp_path, bundle):
    assert bundle.self_test() < 1e-5
    np.save(bundle.folder / "sample_output.npy", np.zeros((1, 3, *tiny.PATCH), np.float32))
    with pytest.raises(BundleError, match=r"sample_output\.npy is damaged"):
        bundle.self_test()


def test_self_test__detects_nan(bundle, monkeypatch):
    monkeypatch.setattr(VolumeBundle, "run", lambda self, windows: np.full((1, 3, *tiny.PATCH), np.nan, np.float32))
    with pytest.raises(BundleError, match="outputs by nan"):
        bundle.self_test()


def test_load__image_and_volume_bundles_are_distinguished(tmp_path, bundle):
    with pytest.raises(BundleError, match=r"segments volumes\. Run `medtune predict`"):
        Bundle.load(bundle.folder)
    with pytest.raises(BundleError, match="the bundle does not segment"):
        VolumeBundle.load(write_image_bundle(tmp_path / "images"))
    with pytest.raises(BundleError, match=r"provider=tensorrt: not supported for segmentation\. Use cpu or cuda"):
        VolumeBundle.load(bundle.folder, provider="tensorrt")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": [8, 8]}, r"volumes\.patch\" is \[8, 8\]: expected three numbers of voxels"),
        ({"patch": [8, 8, 16]}, r"requires \(batch, 1, 8, 8, 16\): key \"volumes.patch\" is \[8, 8, 16\]"),
        ({"spacing": [1, 1, 0]}, r"volumes\.spacing\" is"),
        ({"channels": ["CT", "MR"]}, r"volumes\.channels\" is \[\"CT\", \"MR\"\]: expected 1 different names"),
        ({"overlap": 1.0}, r"volumes\.overlap\" is 1\.0: expected a number from 0 to 0\.9"),
        ({"post_processing": {"largest": [3], "min_volume_mm3": 0}}, r"post_processing\.largest\" is \[3\]"),
        ({"training_range": {}}, r"volumes\.training_range\.spacing\" is missing or null"),
        ({"feature_limit": {"limit": 0, "share": 0.9, "patients": 9, "width": 1}}, r"feature_limit\.limit\" is 0: exp"),
        ({"feature_limit": {"limit": 1, "share": 0.9, "patients": 9}}, r"feature_limit\.width\" is missing or null"),
        ({"feature_limit": {"limit": 1, "share": 0.9, "patients": 9, "width": 2}}, r"requires \(batch, 2, 2\)"),
        ({"images": {"pixel_mm": None}}, r"patch\" is \[8, 8, 8\]: expected one slice, because key \"volumes.images\""),
        ({"images": {"pixel_mm": [1]}, "patch": [8, 8, 1]}, r"images\" is .* expected the key \"pixel_mm\" with null"),
    ],
)  # fmt: skip
def test_load__invalid_fields_are_named(tmp_path, changes, message):
    with pytest.raises(BundleError, match=message):
        VolumeBundle.load(tiny.write_bundle(tmp_path / "bundle", **changes))

"""One volume, stored in different ways, gets the same mask in world coordinates.

Other axes are a lossless change, so the masks are identical. On another grid, the masks differ by at most one voxel at
the surface of a label.
"""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medtune.serving.volumes.bundle import VolumeBundle
from tests.serving.volumes import tiny_volume_bundle as tiny
from tests.serving.volumes.volume_files import make_affine, reoriented, write_nifti, write_series

# Centers and radii of two ellipsoids in mm: an organ, and a lesion in one of its corners. No mirror image of them is
# similar to them.
ORGAN = (np.array([6.0, -4.0, 3.0]), np.array([13.0, 9.0, 12.0]))
LESION = (np.array([11.0, -1.0, 8.0]), np.array([5.0, 5.0, 5.0]))
EXTENT_MM = np.array([48.0, 40.0, 48.0])
AXIAL, CORONAL, SAGITTAL = "LPS", "LIA", "PIL"
TURN = np.radians(20)


def signed_distance(points, ellipsoid):
    """Return the approximate distance of points (..., 3) to the surface in mm, positive inside."""
    center, radii = ellipsoid
    return (1 - np.linalg.norm((points - center) / radii, axis=-1)) * radii.mean()


def positions(shape, affine):
    """Return the world coordinates (X, Y, Z, 3) of all voxels in mm."""
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return indices @ affine[:3, :3].T + affine[:3, 3]


def draw(shape, affine):
    """Sample the volume on a grid: about 50 in the background, 250 in the organ and 450 in the lesion."""
    points = positions(shape, affine)
    inside = [np.clip(0.5 + signed_distance(points, ellipsoid) / 4, 0, 1) for ellipsoid in (ORGAN, LESION)]
    return np.rint(50 + 200 * inside[0] + 200 * inside[1]).astype(np.int16)


def grid(spacing, angles=(0.0, 0.0, 0.0)):
    """Return shape and affine of a grid around the organ."""
    shape = tuple(round(size / step) for size, step in zip(EXTENT_MM, spacing, strict=True))
    affine = make_affine(spacing, angles, (0, 0, 0))
    affine[:3, 3] = ORGAN[0] - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return shape, affine


def write(folder, kind, values, affine, number=0):
    if kind == "dicom":
        return write_series(folder / f"series{number}", values, affine)
    return write_nifti(folder / f"case{number}.nii.gz", np.ascontiguousarray(values), affine)


def canonical(values, affine):
    """Return an array as an image in RAS, by nibabel."""
    return nib.as_closest_canonical(nib.Nifti1Image(values, affine))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return VolumeBundle.load(tiny.write_bundle(tmp_path_factory.mktemp("bundle")), threads=1)


def predict(bundle, source, folder):
    """Return the written label map (X, Y, Z) with the axes of the file, and its affine."""
    bundle.segment(source).save(target := Path(folder) / "labels.nii.gz")
    image = nib.load(target)
    return np.asarray(image.dataobj), image.affine


@pytest.fixture(scope="module")
def reference(bundle, tmp_path_factory):
    """Return the mask of the volume in RAS at the spacing of the bundle, and its affine."""
    folder = tmp_path_factory.mktemp("reference")
    shape, affine = grid(tiny.SPACING)
    labels, written = predict(bundle, write(folder, "nifti", draw(shape, affine), affine), folder)
    assert np.allclose(written, affine, atol=1e-4)
    assert all((labels == label).sum() > 100 for label in (1, 2))
    return labels, affine


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
@pytest.mark.parametrize("orientation", ["RAS", "LAS", "ASR", "SPL", AXIAL, CORONAL, SAGITTAL])
def test_other_axes__give_the_identical_mask(tmp_path, bundle, reference, kind, orientation):
    expected, affine = reference
    values, stored = reoriented(draw(expected.shape, affine), affine, orientation)
    labels, written = predict(bundle, write(tmp_path, kind, values, stored), tmp_path)
    found = canonical(labels, written)
    assert np.allclose(found.affine, affine, atol=1e-4)
    assert np.array_equal(np.asarray(found.dataobj), expected)


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
def test_reversed_slices__give_the_identical_mask(tmp_path, bundle, reference, kind):
    expected, affine = reference
    values, backwards = draw(expected.shape, affine)[..., ::-1], affine.copy()
    backwards[:3, 2], backwards[:3, 3] = -affine[:3, 2], affine[:3, 3] + (expected.shape[2] - 1) * affine[:3, 2]
    labels, written = predict(bundle, write(tmp_path, kind, values, backwards), tmp_path)
    found = canonical(labels, written)
    assert np.allclose(found.affine, affine, atol=1e-4)
    assert np.array_equal(np.asarray(found.dataobj), expected)


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
@pytest.mark.parametrize(
    ("spacing", "angles", "orientation"),
    [
        (tiny.SPACING, (TURN, 0, 0), "RAS"),
        (tiny.SPACING, (0, 0, TURN), AXIAL),
        ((1.2, 1.2, 1.2), (TURN, -TURN, TURN), SAGITTAL),
        ((0.8, 0.8, 5.0), (0, 0, 0), AXIAL),
        ((0.8, 5.0, 0.8), (0, 0, 0), CORONAL),
        ((4.0, 0.9, 0.9), (0, TURN, 0), SAGITTAL),
    ],
)
def test_other_grid__gives_the_mask_within_one_voxel(tmp_path, bundle, reference, kind, spacing, angles, orientation):
    shape, turned = grid(spacing, angles)
    values, stored = reoriented(draw(shape, turned), turned, orientation)
    labels, written = predict(bundle, write(tmp_path, kind, values, stored), tmp_path)
    assert np.allclose(canonical(labels, written).affine, canonical(values, stored).affine, atol=1e-3)
    voxel = max(*spacing, *tiny.SPACING)
    distance, shift = differences(labels, written, reference)
    assert distance < voxel
    assert shift < voxel / 3


def differences(labels, affine, reference):
    """Compare a mask on another grid with the reference.

    Returns the largest distance in mm of a differing voxel from the surface of a label, and the largest distance
    between the centers of a label.
    """
    expected, stored = reference
    points, expected_points = positions(labels.shape, affine), positions(expected.shape, stored)
    nearest = np.rint((points - stored[:3, 3]) @ np.linalg.inv(stored[:3, :3]).T).astype(int)
    inside = ((nearest >= 0) & (nearest < expected.shape)).all(axis=-1)
    differs = labels > 0
    differs[inside] = labels[inside] != expected[tuple(nearest[inside].T)]
    surface = np.minimum(*(np.abs(signed_distance(points, ellipsoid)) for ellipsoid in (ORGAN, LESION)))
    centers = [
        points[labels == label].mean(axis=0) - expected_points[expected == label].mean(axis=0) for label in (1, 2)
    ]
    return surface[differs].max(initial=0), np.linalg.norm(centers, axis=1).max()


@pytest.mark.parametrize("axis", range(3))
def test_differences__of_a_shifted_or_mirrored_mask_are_detected(reference, axis):
    labels, affine = reference
    shifted = affine.copy()
    shifted[:3, 3] += affine[:3, axis]
    assert differences(labels, affine, reference) == (0, 0)
    assert differences(labels, shifted, reference)[1] == pytest.approx(tiny.SPACING[axis])
    assert differences(np.flip(labels, axis), affine, reference)[0] > 2

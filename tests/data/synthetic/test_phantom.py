import nibabel as nib
import numpy as np
import pytest

from medtune.data.synthetic.phantom import Grid, Scanner, draw_phantom

PATIENTS = range(40)


def canonical(volume):
    """Return image, mask and affine in RAS orientation."""
    image = nib.as_closest_canonical(nib.Nifti1Image(volume.image[0], volume.affine))
    mask = nib.as_closest_canonical(nib.Nifti1Image(volume.mask, volume.affine))
    np.testing.assert_array_equal(image.affine, mask.affine)
    return np.asarray(image.dataobj), np.asarray(mask.dataobj), image.affine


def world_center(mask, affine):
    return nib.affines.apply_affine(affine, np.argwhere(mask)).mean(axis=0)


def test_draw__types_and_shapes():
    volume = draw_phantom(0, 20, True, False, 1)
    assert volume.image.dtype == np.float32
    assert volume.mask.dtype == np.uint8
    assert volume.affine.dtype == np.float64
    assert volume.image.shape == (1, 20, 20, 20)
    assert volume.mask.shape == (20, 20, 20)
    assert volume.affine.shape == (4, 4)
    assert np.isfinite(volume.image).all()
    assert (volume.image >= 0).all()


@pytest.mark.parametrize("anisotropic", [False, True])
@pytest.mark.parametrize("size", [16, 24])
def test_draw__every_label_is_present(size, anisotropic):
    for patient in PATIENTS:
        assert set(np.unique(draw_phantom(patient, size, True, anisotropic, 3).mask)) == {0, 1, 2, 3}


def test_draw__organs_touch():
    for patient in range(12):
        mask = draw_phantom(patient, 32, False, False, 1).mask
        touching = [
            {tuple(pair) for pair in np.sort(np.stack([np.delete(mask, 0, axis), np.delete(mask, -1, axis)], -1)
                                             .reshape(-1, 2), axis=1)}
            for axis in range(3)
        ]  # fmt: skip
        assert (1, 2) in set.union(*touching)


def test_draw__lesion_is_inside_the_organs_and_changes_nothing_else():
    for patient in range(12):
        healthy, ill = (draw_phantom(patient, 48, lesion, False, 1) for lesion in (False, True))
        lesion = ill.mask == 3
        assert (healthy.mask[lesion] > 0).mean() > 0.9
        np.testing.assert_array_equal(healthy.mask[~lesion], ill.mask[~lesion])
        np.testing.assert_array_equal(healthy.image[0][~lesion], ill.image[0][~lesion])
        assert (healthy.image[0][lesion] != ill.image[0][lesion]).all()


def test_draw__thick_slices_show_the_same_anatomy():
    for patient in range(12):
        thin, thick = (draw_phantom(patient, 48, True, anisotropic, 1) for anisotropic in (False, True))
        spacing = nib.affines.voxel_sizes(thick.affine)
        assert spacing.max() / spacing.min() > 1.8
        assert np.allclose(nib.affines.voxel_sizes(thin.affine), spacing.min())
        for label in (1, 2):
            centers = [world_center(volume.mask == label, volume.affine) for volume in (thin, thick)]
            assert np.linalg.norm(centers[0] - centers[1]) < spacing.min()


def test_draw__upper_organ_is_closer_to_the_head():
    for patient in PATIENTS:
        volume = draw_phantom(patient, 24, False, False, 1)
        upper, lower = (world_center(volume.mask == label, volume.affine) for label in (1, 2))
        assert upper[2] > lower[2]


def test_draw__intensity_depends_on_tissue_and_scanner():
    gains = []
    for patient in range(12):
        image, mask, _ = canonical(draw_phantom(patient, 32, False, False, 1))
        corners = image[:2, :2, :2].mean()
        assert np.median(image[mask == 2]) > np.median(image[mask == 1]) > 3 * corners
        gains.append(np.median(image[mask == 1]))
    assert max(gains) / min(gains) > 50


def test_grids__have_all_orientations_and_valid_affines():
    codes, tilted, thick = set(), 0, set()
    for patient in range(400):
        grid = Grid.draw(np.random.default_rng(patient), 16, True)
        codes.add(nib.aff2axcodes(grid.affine))
        spacing = nib.affines.voxel_sizes(grid.affine)
        thick.add(int(np.argmax(spacing)))
        axes = grid.affine[:3, :3] / spacing
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
        tilted += np.abs(axes).max(axis=0).min() < 1 - 1e-6
        np.testing.assert_allclose(spacing * grid.shape, 2 * grid.half)
    assert len(codes) == 48
    assert 150 < tilted < 250
    assert thick == {0, 1, 2}


def test_grid__points_agree_with_the_affine():
    grid = Grid.draw(np.random.default_rng(7), 16, True)
    indices = np.stack(np.indices(grid.shape), axis=-1)
    expected = (nib.affines.apply_affine(grid.affine, indices) - grid.center) / grid.half
    np.testing.assert_allclose(np.stack(grid.points(), axis=-1), expected, atol=1e-12)
    np.testing.assert_allclose([axis.mean() for axis in grid.points()], 0, atol=1e-12)


def test_scanner__noise_has_the_stated_size():
    rng, points = np.random.default_rng(0), tuple(np.zeros((3, 40, 40, 40)))
    scanner = Scanner.draw(rng)
    air, tissue = (scanner.acquire(np.full((40, 40, 40), level), points, rng) / scanner.gain for level in (0.0, 1.0))
    bias = np.exp(scanner.bias.values(points)[0, 0, 0])
    assert air.mean() == pytest.approx(scanner.noise * np.sqrt(np.pi / 2), rel=0.02)  # Rayleigh distribution
    assert tissue.std() == pytest.approx(scanner.noise, rel=0.02)
    assert tissue.mean() == pytest.approx(bias, rel=0.02)

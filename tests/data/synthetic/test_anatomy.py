import numpy as np

from medtune.data.synthetic.anatomy import Anatomy, Ellipsoid, SmoothField


def grid(size):
    axis = (np.arange(size) + 0.5) * 2 / size - 1
    return tuple(np.meshgrid(axis, axis, axis, indexing="ij"))


def test_ellipsoid__rho_is_one_on_the_surface():
    ellipsoid = Ellipsoid(np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.25, 0.125]))
    points = tuple(np.array(axis) for axis in zip((0.1, 0.2, 0.3), (0.6, 0.2, 0.3), (0.1, 0.2, 0.05), strict=True))
    np.testing.assert_allclose(ellipsoid.rho(points), [0, 1, 2])


def test_smooth_field__is_bounded_and_smooth():
    for seed in range(10):
        values = SmoothField.draw(np.random.default_rng(seed), 0.06).values(grid(32))
        assert 0.005 < values.std() < 0.06
        assert np.abs(values).max() < 0.06 * 3**0.5
        assert max(np.abs(np.diff(values, axis=axis)).max() for axis in range(3)) < 0.06 * 3**0.5 * 5 * 2 / 32


def test_anatomy__organs_are_inside_the_body():
    for seed in range(30):
        anatomy = Anatomy.draw(np.random.default_rng(seed), lesion=True)
        points = grid(24)
        _, mask = anatomy.render(points)
        warped = tuple(axis + field.values(points) for axis, field in zip(points, anatomy.warp, strict=True))
        assert (anatomy.body.rho(warped)[mask > 0] < 1).all()
        assert not mask[[0, -1]].any()
        assert not mask[:, [0, -1]].any()
        assert not mask[:, :, [0, -1]].any()


def test_anatomy__labels_have_their_intensity():
    anatomy = Anatomy.draw(np.random.default_rng(2), lesion=True)
    image, mask = anatomy.render(grid(24))
    for label in (1, 2, 3):
        assert set(image[mask == label]) == {anatomy.intensities[label]}
    assert set(image[mask == 0]) == {0.0, anatomy.intensities[0]}
    assert mask.dtype == np.uint8


def test_anatomy__volume_of_the_organs_varies():
    volumes = [
        np.bincount(Anatomy.draw(np.random.default_rng(seed), lesion=True).render(grid(32))[1].ravel(), minlength=4)
        for seed in range(20)
    ]
    means = np.mean(volumes, axis=0) / 32**3
    assert (means[1:3] > 0.005).all()
    assert (means[1:3] < 0.05).all()
    assert 0.0005 < means[3] < 0.01
    assert (np.std(volumes, axis=0)[1:] / np.mean(volumes, axis=0)[1:] > 0.1).all()

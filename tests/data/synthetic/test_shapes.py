import numpy as np
import pytest

from medtune.data.synthetic.shapes import SIDE, Blob, draw_nuclei, hexagonal_points, noise, place_circles


@pytest.mark.parametrize("period", [5, 30, 200])
def test_noise__fills_the_field_about_zero(period):
    fields = np.stack([noise(np.random.default_rng(seed), 64, period) for seed in range(40)])
    assert fields.shape == (40, 64, 64)
    assert abs(fields.mean()) < 0.3
    assert 0.4 < fields.std() < 1.6


def test_ring__points_are_equidistant_on_the_outline():
    blob = Blob.draw(np.random.default_rng(1), 60, 70, 20, 0.2)
    ring = blob.ring(np.random.default_rng(2), 0.8, 5.0)
    np.testing.assert_allclose(blob.rho(ring[:, 0], ring[:, 1]), 0.8, atol=1e-9)
    steps = np.hypot(*np.diff(ring[:, :2], axis=0).T)
    assert np.abs(steps - 5).max() < 1.5


def test_place_circles__keeps_the_gap():
    circles = place_circles(np.random.default_rng(0), [20, 15, 10, 8, 5], 3)
    assert len(circles) >= 4
    for i, circle in enumerate(circles):
        for other in circles[:i]:
            assert np.hypot(*(circle - other)[:2]) > circle[2] + other[2] + 3


def test_hexagonal_points__cover_the_field():
    points = hexagonal_points(np.random.default_rng(0), 6.0)
    inside = ((points >= 0) & (points < SIDE)).all(1).sum()
    assert inside == pytest.approx(SIDE**2 / (6.0 * 6.0 * 0.87), rel=0.1)


def test_draw_nuclei__draws_a_nucleus_at_its_position():
    nucleus = np.array([[32.0, 96.0, 4.0, 1.0, 0.0, 1.0], [500.0, 10.0, 4.0, 1.0, 0.0, 1.0]])
    canvas = draw_nuclei(nucleus, 128, np.random.default_rng(0))
    y, x = np.argwhere(canvas > 0.3).mean(0)
    assert (y, x) == pytest.approx((31.5, 95.5), abs=0.6)
    assert (canvas > 0.3).sum() == pytest.approx(np.pi * 16, rel=0.2)


def test_draw_nuclei__without_nuclei_is_empty():
    assert not draw_nuclei(np.empty((0, 6)), 16, np.random.default_rng(0)).any()

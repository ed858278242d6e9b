"""Shapes of synthetic tissue: noise fields, rounded blobs and nuclei.

Lengths are in 1/128 of the image side, and angles are in radians.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import zoom

SIDE = 128.0


def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the y and x coordinates of all pixel centers, each (size, size)."""
    axis = (np.arange(size) + 0.5) * (SIDE / size)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return y, x


def noise(rng: np.random.Generator, size: int, period: float) -> np.ndarray:
    """Return (size, size) smooth noise with mean 0, standard deviation about 1, and bumps about `period` wide."""
    knots = int(np.ceil(SIDE / period)) + 3
    coarse = rng.normal(0, 1.4, (knots, knots))
    fine = zoom(coarse, size / (knots - 2), order=2)
    y, x = rng.integers(0, max(1, min(fine.shape) - size + 1), 2)
    window: np.ndarray = fine[y : y + size, x : x + size]
    return window


@dataclass(frozen=True)
class Blob:
    """Rounded, lobed and elongated outline.

    Attributes:
        y: vertical coordinate of the center.
        x: horizontal coordinate of the center.
        radius: mean radius.
        aspect: ratio of length to width.
        angle: direction of the long axis.
        lobes: waves that are added to the radius. A wave is (number of lobes, height relative to the radius, phase).
    """

    y: float
    x: float
    radius: float
    aspect: float
    angle: float
    lobes: tuple[tuple[int, float, float], ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, y: float, x: float, radius: float, irregular: float) -> "Blob":
        """Draw a random blob with the mean radius `radius`. `irregular` is 0 for a circle and about 0.2 at most."""
        lobes = tuple((k, irregular * rng.uniform(0.4, 1) / k**0.5, rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5))
        return cls(y, x, radius, 1 + irregular * rng.uniform(0, 3), rng.uniform(0, np.pi), lobes)

    def _reach(self, theta: np.ndarray) -> np.ndarray:
        """Return the distance from the center to the outline in the directions `theta`, before stretching."""
        lobes: np.ndarray = np.sum([a * np.cos(k * theta + phase) for k, a, phase in self.lobes], axis=0)
        return self.radius * (1 + lobes)

    def rho(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the distance from the center as a fraction of the distance to the outline, which has the value 1."""
        c, s, stretch = np.cos(self.angle), np.sin(self.angle), self.aspect**0.5
        u = (c * (x - self.x) + s * (y - self.y)) / stretch
        v = (c * (y - self.y) - s * (x - self.x)) * stretch
        rho: np.ndarray = np.hypot(u, v) / self._reach(np.arctan2(v, u))
        return rho

    def ring(self, rng: np.random.Generator, rho: float, spacing: float) -> np.ndarray:
        """Return points about `spacing` apart on the outline scaled by `rho`: (m, 3) y, x and outward direction."""
        theta = np.arange(0, 2 * np.pi, 0.02) + rng.uniform(0, 0.02)
        c, s, stretch = np.cos(self.angle), np.sin(self.angle), self.aspect**0.5
        reach = rho * self._reach(theta)
        u, v = reach * np.cos(theta) * stretch, reach * np.sin(theta) / stretch
        y, x = self.y + s * u + c * v, self.x + c * u - s * v
        walked = np.cumsum(np.hypot(np.diff(y, append=y[:1]), np.diff(x, append=x[:1])))
        _, first = np.unique((walked // spacing).astype(int), return_index=True)
        direction = np.arctan2(y - self.y, x - self.x)
        return np.stack([y[first], x[first], direction[first]], axis=1)


def place_circles(
    rng: np.random.Generator, radii: Sequence[float], gap: float, margin: float = 12.0
) -> list[np.ndarray]:
    """Place circles at random, largest first.

    Args:
        rng: generator of the positions.
        radii: radius of each circle.
        gap: minimum distance between the outlines of two circles.
        margin: distance that a center may be outside of the image.

    Returns:
        (y, x, radius) of each circle. Circles that do not fit are left out.
    """
    placed: list[np.ndarray] = []
    for radius in sorted(radii, reverse=True):
        for y, x in rng.uniform(-margin, SIDE + margin, (12, 2)):
            if all(np.hypot(y - p[0], x - p[1]) > radius + p[2] + gap for p in placed):
                placed.append(np.array([y, x, radius]))
                break
    return placed


def hexagonal_points(rng: np.random.Generator, spacing: float) -> np.ndarray:
    """Return (m, 2) points, y and x, of a hexagonal grid that fills the image. Each point is moved at random."""
    rows = np.arange(-8, SIDE + 8, spacing * 0.87)
    columns = np.arange(-8, SIDE + 8, spacing)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    x = x + (np.arange(len(rows)) % 2)[:, None] * spacing / 2
    points = np.stack([y.ravel(), x.ravel()], axis=1)
    return points + rng.normal(0, 0.16 * spacing, points.shape)


def draw_nuclei(nuclei: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw nuclei. Where nuclei overlap, the darkest value is used.

    Args:
        nuclei: (m, 6): y, x, radius, aspect, direction of the long axis, darkness.
        size: width and height in pixels.
        rng: generator for the chromatin texture.

    Returns:
        (size, size) hematoxylin concentration.
    """
    pixel = SIDE / size
    canvas = np.zeros((size, size))
    if not len(nuclei):
        return canvas
    reach = int(np.ceil((nuclei[:, 2] * nuclei[:, 3] ** 0.5).max() / pixel)) + 1
    offsets = np.arange(-reach, reach + 1)
    rows = np.floor(nuclei[:, 0] / pixel).astype(int)[:, None, None] + offsets[None, :, None]
    columns = np.floor(nuclei[:, 1] / pixel).astype(int)[:, None, None] + offsets[None, None, :]
    dy = (rows + 0.5) * pixel - nuclei[:, 0, None, None]
    dx = (columns + 0.5) * pixel - nuclei[:, 1, None, None]
    c, s = np.cos(nuclei[:, 4])[:, None, None], np.sin(nuclei[:, 4])[:, None, None]
    stretch = nuclei[:, 3, None, None] ** 0.5
    distance = np.hypot((c * dx + s * dy) / stretch, (c * dy - s * dx) * stretch)
    radius = nuclei[:, 2, None, None]
    inside = np.clip((radius - distance) / (0.7 * pixel) + 0.5, 0, 1)
    membrane = 0.75 + 0.35 * np.clip(distance / radius, 0, 1) ** 3
    chromatin = 1 + 0.15 * rng.normal(0, 1, inside.shape)
    value = nuclei[:, 5, None, None] * inside * membrane * chromatin
    rows, columns = np.broadcast_arrays(rows, columns)
    visible = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
    np.maximum.at(canvas, (rows[visible], columns[visible]), value[visible])
    return canvas

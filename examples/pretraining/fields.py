"""Building blocks of procedural textures: filtered noise, cellular noise, painted polygons, color ramps.

A field is an array (n, n) of floats, most of them in 0..1. Lengths are fractions of the image side.
"""

from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image, ImageDraw
from scipy.fft import irfft2

Rng = np.random.Generator
Polygon = np.ndarray
Layers = tuple[np.ndarray, np.ndarray]  # brightness and material, see `colorize`


def unit(values: np.ndarray) -> np.ndarray:
    """Scale `values` to 0..1 between their 1st and 99th percentiles."""
    low, high = np.percentile(values[::3, ::3], [1, 99])
    return np.asarray(np.clip((values - low) / (high - low + 1e-9), 0, 1))


def soft(values: np.ndarray, limit: float, ramp: float) -> np.ndarray:
    """Return a soft step from 0 below `limit` to 1 above it, with a linear ramp of width `ramp`."""
    return np.clip((values - limit) / ramp + 0.5, 0, 1)


def angle(rng: Rng) -> float:
    """Draw a direction in the plane, 0..pi radians."""
    return float(rng.uniform(0, np.pi))


def axes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the y and x coordinates of all pixels, 0..1."""
    axis = (np.arange(n) + 0.5) / n
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return y, x


def spectral(rng: Rng, n: int, weight: Callable[[np.ndarray, np.ndarray], np.ndarray], angle: float = 0) -> np.ndarray:
    """Draw noise with mean 0 and standard deviation 1.

    Args:
        rng: random generator.
        n: side of the field, pixels.
        weight: amplitude as a function of the frequencies along and across `angle`, in cycles per side.
        angle: direction in radians.

    Returns:
        The field (n, n).
    """
    fy, fx = np.fft.fftfreq(n, 1 / n)[:, None], np.fft.rfftfreq(n, 1 / n)[None, :]
    along, across = fx * np.cos(angle) + fy * np.sin(angle), fy * np.cos(angle) - fx * np.sin(angle)
    amplitude = weight(along, across)
    amplitude[0, 0] = 0
    waves = rng.normal(size=amplitude.shape) + 1j * rng.normal(size=amplitude.shape)
    field = irfft2(amplitude * waves, s=(n, n))
    return np.asarray(field / (field.std() + 1e-12))


def fractal(rng: Rng, n: int, slope: float, stretch: float = 1, angle: float = 0) -> np.ndarray:
    """Draw noise with the amplitude frequency ** -slope, stretched along `angle` by the factor `stretch`."""
    return spectral(rng, n, lambda u, v: (1 + (u * stretch) ** 2 + v**2) ** (-slope / 2), angle)


def band(rng: Rng, n: int, cycles: float, width: float, angle: float = 0, turn: float = np.inf) -> np.ndarray:
    """Draw waves with similar frequencies.

    Args:
        rng: random generator.
        n: side of the field, pixels.
        cycles: mean number of periods per side.
        width: relative spread of the number of periods.
        angle: mean direction in radians.
        turn: spread of the directions in radians; infinite for all directions.

    Returns:
        The field (n, n).
    """

    def weight(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        amplitude = np.exp(-(((np.hypot(u, v) - cycles) / (width * cycles)) ** 2))
        if np.isfinite(turn):
            amplitude = amplitude * np.exp(-((np.arctan2(np.abs(v), np.abs(u)) / turn) ** 2))
        return np.asarray(amplitude)

    return spectral(rng, n, weight, angle)


def worley(
    rng: Rng, n: int, cells: int, jitter: float, squeeze: float = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw cellular noise (Worley noise) around random points.

    Args:
        rng: random generator.
        n: side of the fields, pixels.
        cells: rows of points.
        jitter: range of the random shifts of the points from a grid, as a fraction of the cell.
        squeeze: rows divided by columns of points.

    Returns:
        Fields (n, n): the distances to the nearest and to the second nearest point in cells, and a random tone in 0..1
        of the nearest point.
    """
    wide = max(2, round(cells / squeeze))
    points = 0.5 + jitter * (rng.random((cells, wide, 2)) - 0.5)
    points[1::2, :, 1] += 0.5
    tones = rng.random((cells, wide))
    axis = (np.arange(n) + 0.5) / n
    y, x = np.meshgrid(axis * cells, axis * wide, indexing="ij")
    row, column = y.astype(int), x.astype(int)
    first, second = np.full((n, n), 9.0), np.full((n, n), 9.0)
    tone = np.zeros((n, n))
    for dy in (-1, 0, 1):
        for dx in (-2, -1, 0, 1):
            r, c = (row + dy) % cells, (column + dx) % wide
            distance = np.hypot(y - row - dy - points[r, c, 0], x - column - dx - points[r, c, 1])
            nearer = distance < first
            second = np.where(nearer, first, np.minimum(second, distance))
            tone = np.where(nearer, tones[r, c], tone)
            first = np.minimum(first, distance)
    return first, second, tone


def ellipse(y: float, x: float, radius: float, aspect: float = 1, angle: float = 0, point: float = 1) -> Polygon:
    """Return the outline (16, 2) of an ellipse as x, y. A `point` above 1 sharpens both ends like those of a leaf."""
    t = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    u, v = radius * aspect**0.5 * np.cos(t), radius / aspect**0.5 * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** point
    return np.stack([x + u * np.cos(angle) - v * np.sin(angle), y + u * np.sin(angle) + v * np.cos(angle)], 1)


def painted(n: int, shapes: Iterable[tuple[Polygon, float]], background: float = 0) -> np.ndarray:
    """Fill polygons with their tones, and return a field in 0..1 with smooth edges. Later polygons are on top."""
    image = Image.new("L", (2 * n, 2 * n), round(255 * background))
    pen = ImageDraw.Draw(image)
    for outline, tone in shapes:
        pen.polygon((outline * (2 * n)).ravel().tolist(), fill=round(255 * float(np.clip(tone, 0, 1))))
    return np.asarray(image.reduce(2), float) / 255


def lined(n: int, lines: Iterable[tuple[np.ndarray, float, float]], background: float = 0) -> np.ndarray:
    """Draw polylines and return a field in 0..1 with smooth edges. A line is points (m, 2) as x, y; width; tone."""
    image = Image.new("L", (2 * n, 2 * n), round(255 * background))
    pen = ImageDraw.Draw(image)
    for points, width, tone in lines:
        fill = round(255 * float(np.clip(tone, 0, 1)))
        pen.line((points * (2 * n)).ravel().tolist(), fill=fill, width=max(1, round(width * 2 * n)), joint="curve")
    return np.asarray(image.reduce(2), float) / 255


def walk(rng: Rng, steps: int, step: float, wander: float, start: np.ndarray | None = None) -> np.ndarray:
    """Return a smooth random walk, (steps, 2) as x, y. `wander` is the change of its turns in radians."""
    turns = rng.uniform(0, 2 * np.pi) + np.cumsum(np.cumsum(rng.normal(0, wander, steps)) * 0.5)
    begin = rng.uniform(-0.1, 1.1, 2) if start is None else start
    return begin + np.cumsum(step * np.stack([np.cos(turns), np.sin(turns)], 1), 0)


def spread(rng: Rng, count: int, apart: float) -> np.ndarray:
    """Draw at most `count` points (m, 2) as x, y whose pairwise distances are at least `apart`."""
    points = np.empty((0, 2))
    for point in rng.uniform(-0.05, 1.05, (4 * count, 2)):
        if len(points) < count and (not len(points) or (((points - point) ** 2).sum(1) > apart**2).all()):
            points = np.concatenate([points, point[None]])
    return points


def colorize(rng: Rng, value: np.ndarray, material: np.ndarray) -> np.ndarray:
    """Color a texture with two random color ramps and uneven light.

    Args:
        rng: random generator.
        value: (n, n) brightness in 0..1, which is the position on a ramp.
        material: (n, n) share of the second ramp in 0..1.

    Returns:
        (n, n, 3) uint8.
    """
    n = len(value)
    value = value + rng.uniform(0, 0.08) * fractal(rng, n, 1.0)
    position = np.clip(value, 0, 1) * 3
    index = np.minimum(position.astype(int), 2)
    fraction = (position - index)[..., None]
    ramps = []
    for _ in range(2):
        base = rng.uniform(0.1, 0.9, 3)
        ramp = np.clip(
            base + np.linspace(-0.35, 0.35, 4)[:, None] * rng.choice([-1, 1]) + rng.normal(0, 0.15, (4, 3)), 0, 1
        )
        ramps.append(ramp[index] * (1 - fraction) + ramp[index + 1] * fraction)
    weight = np.clip(material, 0, 1)[..., None]
    image = ramps[0] * (1 - weight) + ramps[1] * weight
    light = 1 + 0.12 * fractal(rng, n, 3.0)[..., None]
    return np.asarray(np.clip(image * light * 255, 0, 255), np.uint8)

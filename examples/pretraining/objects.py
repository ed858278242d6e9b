"""Textures of many painted objects: stones, leaves, flowers, grass, bubbles.

Each function takes (rng, n) and returns the value field (brightness) and the material field of one image. The material
selects one of two color ramps (`fields.colorize`). Size, number and positions of the objects are random.
"""

from collections.abc import Callable

import numpy as np

from examples.pretraining.fields import Layers, Rng, angle, ellipse, fractal, lined, painted, spread, walk


def on_background(rng: Rng, n: int, objects: np.ndarray, noise: float | None = None) -> Layers:
    """Put painted objects on faint noise. Objects and background differ in material and color."""
    mask = (objects > 0.02).astype(float)
    base = 0.5 + (rng.uniform(0, 0.25) if noise is None else noise) * fractal(rng, n, rng.uniform(0.8, 2.5))
    return np.where(mask > 0, objects + 0.05 * fractal(rng, n, 1.0), base), mask


def foam(rng: Rng, n: int) -> Layers:
    """Foam: bubbles with a rim and a glint."""
    shapes = []
    for x, y in spread(rng, int(rng.integers(20, 70)), rng.uniform(0.08, 0.15)):
        radius = rng.uniform(0.03, 0.085)
        shapes += [(ellipse(y, x, radius), 0.95), (ellipse(y, x, radius * 0.84), rng.uniform(0.3, 0.5)),
                   (ellipse(y - radius * 0.4, x - radius * 0.4, radius * 0.2), 1.0)]  # fmt: skip
    return on_background(rng, n, painted(n, shapes))


def pebbles(rng: Rng, n: int) -> Layers:
    """Separate pebbles on a background."""
    points = spread(rng, int(rng.integers(25, 90)), rng.uniform(0.08, 0.13))
    shapes = [(ellipse(y, x, rng.uniform(0.02, 0.05), rng.uniform(1, 1.8), angle(rng)), rng.uniform(0.2, 1))
              for x, y in points]  # fmt: skip
    return on_background(rng, n, painted(n, shapes))


def berries(rng: Rng, n: int) -> Layers:
    """Berries in bunches."""
    shapes = []
    size = rng.uniform(0.012, 0.022)
    for x, y in spread(rng, int(rng.integers(5, 16)), 0.2):
        for dx, dy in spread(rng, 60, 0.2) - 0.5:
            if dx * dx + dy * dy < 0.25:
                reach = size * 9
                tone = rng.uniform(0.5, 0.7)
                shapes += [(ellipse(y + dy * reach, x + dx * reach, size), tone),
                           (ellipse(y + dy * reach - size / 3, x + dx * reach - size / 3, size / 3), 1)]  # fmt: skip
    return on_background(rng, n, painted(n, shapes))


def daisies(rng: Rng, n: int) -> Layers:
    """Daisies: petals around a disc."""
    shapes = []
    petals = int(rng.integers(7, 16))
    for x, y in spread(rng, int(rng.integers(5, 18)), 0.2):
        radius, turn = rng.uniform(0.06, 0.13), rng.uniform(0, 1)
        for k in np.arange(petals) / petals * 2 * np.pi + turn:
            shapes.append(
                (ellipse(y + radius * np.sin(k), x + radius * np.cos(k), radius / 3, 2, k), rng.uniform(0.5, 0.9))
            )
        shapes.append((ellipse(y, x, radius * rng.uniform(0.3, 0.7)), 0.15))
    return on_background(rng, n, painted(n, shapes))


def pearls(rng: Rng, n: int) -> Layers:
    """String-of-pearls plant: rows of beads."""
    size = rng.uniform(0.012, 0.022)
    shapes = []
    for _ in range(int(rng.integers(6, 18))):
        for x, y in walk(rng, int(rng.integers(8, 30)), size * 2.2, 0.1):
            shapes.append((ellipse(y, x, size * rng.uniform(0.9, 1.1), 1.2, angle(rng)), rng.uniform(0.5, 0.9)))
    return on_background(rng, n, painted(n, shapes))


def foliage(rng: Rng, n: int) -> Layers:
    """Foliage: leaves over leaves."""
    size = rng.uniform(0.03, 0.09)
    shapes = []
    for y, x in rng.uniform(0, 1, (round(1.6 / size**1.5), 2)):
        length, aspect = size * rng.uniform(0.7, 1.2), rng.uniform(1.6, 2.6)
        shapes.append((ellipse(y, x, length, aspect, rng.uniform(0, 6.3), 1.6), rng.uniform(0.1, 1)))
    return on_background(rng, n, painted(n, shapes))


def strokes(rng: Rng, n: int, count: int, length: float, direction: Callable[[np.ndarray], np.ndarray]) -> Layers:
    """Draw straight strokes of random tone. `direction` maps positions (m, 2) to directions (m,) in radians."""
    start = rng.uniform(-0.1, 1.1, (count, 2))
    turn = direction(start)
    end = start + length * rng.uniform(0.5, 1.2, (count, 1)) * np.stack([np.cos(turn), np.sin(turn)], 1)
    width = rng.uniform(0.004, 0.012)
    return on_background(
        rng, n, lined(n, [(np.stack([a, b]), width, rng.uniform(0.1, 1)) for a, b in zip(start, end, strict=True)])
    )


def grass(rng: Rng, n: int) -> Layers:
    """Grass: long blades, nearly parallel."""
    a = angle(rng)
    return strokes(rng, n, int(rng.integers(150, 400)), 0.35, lambda p: a + rng.normal(0, 0.15, len(p)))


def needles(rng: Rng, n: int) -> Layers:
    """Fallen pine needles: straight, in every direction."""
    return strokes(rng, n, int(rng.integers(80, 300)), 0.25, lambda p: rng.uniform(0, np.pi, len(p)))


def fur(rng: Rng, n: int) -> Layers:
    """Fur: short hairs along a bent flow."""
    a, kx, ky, sway = angle(rng), *rng.uniform(2, 6, 2), rng.uniform(0.4, 1.2)
    return strokes(rng, n, 900, 0.08, lambda p: a + sway * np.sin(kx * p[:, 0] + ky * p[:, 1]))


def roots(rng: Rng, n: int) -> Layers:
    """Roots: bent stems with thin branches."""
    lines = []
    for _ in range(int(rng.integers(4, 12))):
        stem = walk(rng, 40, 0.03, 0.06)
        lines.append((stem, rng.uniform(0.012, 0.03), rng.uniform(0.3, 1)))
        lines += [(walk(rng, 14, 0.02, 0.1, stem[k]), 0.008, rng.uniform(0.3, 1)) for k in rng.integers(0, 40, 4)]
    return on_background(rng, n, lined(n, lines))


def scales(rng: Rng, n: int) -> Layers:
    """Fish scales: rows of overlapping discs."""
    rows, shapes = int(rng.integers(6, 15)), []
    for row in range(rows + 2):
        for column in range(rows + 2):
            x, y = (column + 0.5 * (row % 2)) / rows, row * 0.75 / rows
            tone = rng.uniform(0.6, 1)
            shapes += [(ellipse(1 - y * 1.3, x, 0.62 / rows), tone * 0.4), (ellipse(1 - y * 1.3, x, 0.54 / rows), tone)]
    return on_background(rng, n, painted(n, shapes))


def snow(rng: Rng, n: int) -> Layers:
    """Snowfall: small bright dots."""
    points = rng.uniform(0, 1, (int(rng.integers(40, 250)), 2))
    return on_background(
        rng, n, painted(n, [(ellipse(y, x, rng.uniform(0.006, 0.018)), rng.uniform(0.6, 1)) for x, y in points])
    )


def grains(rng: Rng, n: int, turn: float) -> Layers:
    """Draw separate long grains whose directions differ by about `turn` radians."""
    points, a, size = spread(rng, int(rng.integers(40, 160)), 0.06), angle(rng), rng.uniform(0.015, 0.028)
    shapes = []
    for x, y in points:
        leaning = a + rng.normal(0, turn)
        shapes.append((ellipse(y, x, size, rng.uniform(2.2, 4), leaning), rng.uniform(0.3, 1)))
    return on_background(rng, n, painted(n, shapes))


def shoal(rng: Rng, n: int) -> Layers:
    """A shoal of fish: long grains in one direction."""
    return grains(rng, n, 0.15)


def rice(rng: Rng, n: int) -> Layers:
    """Spilled rice: long grains in every direction."""
    return grains(rng, n, 5)


def pumice(rng: Rng, n: int) -> Layers:
    """Pumice: dark pores of all sizes."""
    shapes = []
    for radius in rng.uniform(0.01, 0.07, int(rng.integers(25, 70))):
        y, x = rng.uniform(0, 1, 2)
        shapes.append((ellipse(y, x, radius, rng.uniform(1, 1.5), angle(rng)), rng.uniform(0.05, 0.3)))
    return on_background(rng, n, painted(n, shapes), 0.3)


def lily_pads(rng: Rng, n: int) -> Layers:
    """Lily pads: large discs with small flowers."""
    shapes = []
    for x, y in spread(rng, int(rng.integers(4, 12)), 0.24):
        radius = rng.uniform(0.09, 0.17)
        shapes.append((ellipse(y, x, radius, rng.uniform(1, 1.3), angle(rng)), 0.6))
        for k in rng.uniform(0, 6.3, int(rng.integers(0, 3))):
            shapes.append((ellipse(y + radius * 0.5 * np.sin(k), x + radius * 0.5 * np.cos(k), radius * 0.22), 0.15))
    return on_background(rng, n, painted(n, shapes))


OBJECTS = (
    foam,
    pebbles,
    berries,
    daisies,
    pearls,
    foliage,
    grass,
    needles,
    fur,
    roots,
    scales,
    snow,
    shoal,
    rice,
    pumice,
    lily_pads,
)

"""Textures of noise and waves: stone, wood, skins, water, cloth.

Each function takes (rng, n) and returns the value field (brightness) and the material field of one image. The material
selects one of two color ramps (`fields.colorize`). Scale, direction and shape of the pattern are random.
"""

import numpy as np

from examples.pretraining.fields import Layers, Rng, angle, axes, band, fractal, soft, unit, worley


def clouds(rng: Rng, n: int) -> Layers:
    """Clouds: soft fractal noise."""
    field = unit(fractal(rng, n, rng.uniform(2, 3)))
    return field, soft(field, 0.5, 0.6)


def sand(rng: Rng, n: int) -> Layers:
    """Sand: fine grain without larger structures."""
    return unit(fractal(rng, n, rng.uniform(0, 0.7))), soft(fractal(rng, n, 2.5), 0.5, 2)


def marble(rng: Rng, n: int) -> Layers:
    """Marble: bent veins along one direction."""
    y, x = axes(n)
    a = angle(rng)
    phase = rng.uniform(2, 6) * (x * np.cos(a) + y * np.sin(a)) + rng.uniform(0.4, 1) * fractal(rng, n, 2)
    vein = np.abs(np.sin(np.pi * phase)) ** rng.uniform(0.3, 1)
    return vein, soft(fractal(rng, n, 2), 0.5, 1)


def wood(rng: Rng, n: int) -> Layers:
    """Sawn wood: long grain."""
    a = angle(rng)
    coarse = fractal(rng, n, 2, 12, a)
    grain = 0.5 + 0.5 * np.sin(rng.uniform(5, 14) * coarse) + 0.2 * fractal(rng, n, 0.7, 14, a)
    return unit(grain), soft(coarse, 0.5, 2)


def tree_rings(rng: Rng, n: int) -> Layers:
    """A cut trunk: rings around one center."""
    y, x = axes(n)
    cy, cx = rng.uniform(0, 1, 2)
    radius = np.hypot(y - cy, (x - cx) * rng.uniform(0.7, 1.4)) + 0.02 * fractal(rng, n, 2.5)
    return (radius * rng.uniform(7, 18)) % 1, soft(radius, rng.uniform(0.3, 0.9), 0.1)


def dunes(rng: Rng, n: int) -> Layers:
    """Sand ripples: even, nearly parallel waves."""
    ripple = band(rng, n, rng.uniform(6, 18), 0.15, angle(rng), 0.2)
    return unit(ripple), soft(fractal(rng, n, 2.5), 0.5, 2)


def zebra(rng: Rng, n: int) -> Layers:
    """Zebra skin: hard stripes that fork."""
    stripe = soft(band(rng, n, rng.uniform(5, 12), 0.3, angle(rng), 0.45), rng.normal(0, 0.2), 0.25)
    return 0.5 + 0.1 * fractal(rng, n, 1, 6, angle(rng)), stripe


def brain_coral(rng: Rng, n: int) -> Layers:
    """Brain coral: a labyrinth of ridges, as in reaction-diffusion systems."""
    ridge = band(rng, n, rng.uniform(6, 16), 0.12)
    return unit(ridge), soft(ridge, rng.normal(0, 0.2), 0.5)


def spots(rng: Rng, n: int) -> Layers:
    """Spotted skin: small solid spots."""
    field = band(rng, n, rng.uniform(6, 15), 0.2)
    return 0.5 + 0.15 * fractal(rng, n, 1), soft(field, rng.uniform(0.9, 1.3), 0.3)


def rosettes(rng: Rng, n: int) -> Layers:
    """Jaguar skin: broken rings around a lighter center."""
    field = band(rng, n, rng.uniform(4, 9), 0.15)
    ring = np.exp(-(((field - rng.uniform(0.9, 1.2)) / 0.28) ** 2))
    return np.where(field > 1, 0.85, 0.4) + 0.06 * fractal(rng, n, 1), ring * soft(fractal(rng, n, 1.2), -0.7, 0.5)


def cobbles(rng: Rng, n: int) -> Layers:
    """Cobblestones: domes of different tones between joints."""
    first, second, tone = worley(rng, n, int(rng.integers(5, 13)), 0.7, rng.uniform(0.7, 1.5))
    dome = soft(second - first, 0.12, 0.15) * (0.4 + 0.6 * tone) * (1.1 - 0.6 * first)
    return dome, soft(second - first, 0.12, 0.1)


def cracked_mud(rng: Rng, n: int) -> Layers:
    """Dry mud: a plain surface with thin cracks."""
    first, second, _ = worley(rng, n, int(rng.integers(4, 10)), 0.9)
    return 0.6 + 0.12 * fractal(rng, n, 1.5), soft(second - first + 0.03 * fractal(rng, n, 1.5), 0.07, 0.06)


def giraffe(rng: Rng, n: int) -> Layers:
    """Giraffe skin: large patches between wide pale lines."""
    first, second, tone = worley(rng, n, int(rng.integers(3, 7)), 0.8)
    return 0.3 + 0.5 * tone, soft(second - first + 0.05 * fractal(rng, n, 2), rng.uniform(0.2, 0.35), 0.06)


def honeycomb(rng: Rng, n: int) -> Layers:
    """Honeycomb: regular cells, some filled."""
    first, second, tone = worley(rng, n, int(rng.integers(5, 13)), 0.08)
    return np.where(tone > rng.uniform(0, 1), 0.9, 0.3) - 0.3 * first, soft(second - first, 0.15, 0.1)


def leaf_veins(rng: Rng, n: int) -> Layers:
    """Leaf veins: oblique ribs on both sides of a midrib."""
    y, x = axes(n)
    a, slope, count = angle(rng), rng.uniform(0.5, 1.5), rng.uniform(5, 12)
    along, across = x * np.cos(a) + y * np.sin(a), y * np.cos(a) - x * np.sin(a)
    across = np.abs((across * rng.uniform(1, 3) + 0.015 * fractal(rng, n, 2)) % 1 - 0.5)
    side = np.abs(((along + slope * across) * count) % 1 - 0.5)
    return 0.5 + 0.15 * fractal(rng, n, 1.5), np.maximum(soft(side, 0.42, 0.06), soft(across, 0.47, 0.02))


def water(rng: Rng, n: int) -> Layers:
    """Rippled water: bright bent ridges."""
    a = angle(rng)
    ridge = 1 - np.abs(band(rng, n, rng.uniform(4, 10), 0.5, a, 0.9)) / 1.5
    return np.clip(ridge, 0, 1) ** rng.uniform(1, 4), soft(fractal(rng, n, 2.5), 0.5, 1.5)


def weave(rng: Rng, n: int) -> Layers:
    """Woven cloth: threads that cross over and under each other."""
    y, x = axes(n)
    a, count = angle(rng), rng.uniform(7, 18)
    u, v = count * (x * np.cos(a) + y * np.sin(a)), count * (y * np.cos(a) - x * np.sin(a))
    over = (np.floor(u) + np.floor(v)) % 2
    thread = np.where(over > 0, np.sin(np.pi * (u % 1)), np.sin(np.pi * (v % 1)))
    return thread + 0.08 * fractal(rng, n, 0.5), over


def lichen(rng: Rng, n: int) -> Layers:
    """Lichen: granular patches of irregular outline."""
    patch = soft(fractal(rng, n, 1.7), rng.uniform(0.2, 0.8), 0.15)
    return 0.5 + np.where(patch > 0.5, 0.3 * fractal(rng, n, 0.3), 0.1 * fractal(rng, n, 2)), patch


PATTERNS = (
    clouds,
    sand,
    marble,
    wood,
    tree_rings,
    dunes,
    zebra,
    brain_coral,
    spots,
    rosettes,
    cobbles,
    cracked_mud,
    giraffe,
    honeycomb,
    leaf_veins,
    water,
    weave,
    lichen,
)

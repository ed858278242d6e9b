"""Procedural textures of nature, the source domain of the bundled backbones: no tissue, no stain.

Colors are random and carry no information about the class, so a network can learn structure only.
"""

import numpy as np

from examples.pretraining.fields import colorize
from examples.pretraining.objects import OBJECTS
from examples.pretraining.patterns import PATTERNS

TEXTURES = {paint.__name__: paint for paint in (*PATTERNS, *OBJECTS)}


def render(name: str, n: int, seed: tuple[int, ...]) -> np.ndarray:
    """Render texture `name` as an (n, n, 3) uint8 image; the same arguments give the same image."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    return colorize(rng, *TEXTURES[name](rng, n))

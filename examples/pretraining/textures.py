"""Procedural textures of nature, on which the bundled backbones are pretrained. They show no tissue and no stain.

Colors are random and independent of the class, so a network can learn structure only.
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

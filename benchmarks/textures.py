"""Procedural textures of nature, the source domain of the bundled backbones: no tissue, no stain.

Colour is random and says nothing of the class, so that what can be learnt is structure.
"""

import numpy as np

from benchmarks.fields import coloured
from benchmarks.figures import FIGURES
from benchmarks.patterns import PATTERNS

TEXTURES = {paint.__name__: paint for paint in (*PATTERNS, *FIGURES)}


def render(name: str, n: int, seed: tuple[int, ...]) -> np.ndarray:
    """(n, n, 3) uint8 picture of texture `name`; the same arguments give the same picture."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    return coloured(rng, *TEXTURES[name](rng, n))

"""How one patient's slides were stained and photographed: from dye concentrations to an RGB image."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

# Optical density of the two dyes in R, G, B (Ruifrok and Johnston 2001).
HAEMATOXYLIN = (0.650, 0.704, 0.286)
EOSIN = (0.072, 0.990, 0.105)


@dataclass(frozen=True)
class Stain:
    """What all images of a patient share.

    Attributes:
        haematoxylin: optical density of one unit of the dye in R, G, B.
        eosin: the same of the counterstain.
        light: R, G, B of bare glass, 0..1.
        blur: standard deviation of the focus, in units of 1/128 of the side.
        grain: standard deviation of the sensor's noise, 0..1.
    """

    haematoxylin: np.ndarray
    eosin: np.ndarray
    light: np.ndarray
    blur: float
    grain: float

    @classmethod
    def draw(cls, rng: np.random.Generator, spread: float) -> "Stain":
        """A patient's stain; `spread` 0 gives every patient the same, 1 what laboratories differ by."""

        def dye(vector: tuple[float, float, float], low: float, high: float) -> np.ndarray:
            turned = np.clip(np.array(vector) + spread * rng.normal(0, 0.11, 3), 0.02, None)
            strength = (low * high) ** 0.5 * (high / low) ** (spread * (rng.random() - 0.5))
            return turned / np.sqrt((turned**2).sum()) * strength

        return cls(
            haematoxylin=dye(HAEMATOXYLIN, 1.0, 2.2),
            eosin=dye(EOSIN, 0.5, 1.4),
            light=1 - spread * rng.uniform(0.0, 0.14, 3) - 0.02,
            blur=float(0.45 + spread * rng.uniform(-0.2, 0.4)),
            grain=float(rng.uniform(0.008, 0.02)),
        )

    def render(self, haematoxylin: np.ndarray, eosin: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(size, size, 3) uint8 image by the Beer-Lambert law.

        Args:
            haematoxylin: (size, size) concentration, 0 where there is none.
            eosin: the same of the counterstain.
            rng: draws what differs from section to section: thickness and noise.
        """
        size = len(haematoxylin)
        thick = rng.normal(1, 0.04, 2)
        sigma = self.blur * size / 128
        h = gaussian_filter(haematoxylin * thick[0], sigma)[..., None]
        e = gaussian_filter(eosin * thick[1], sigma)[..., None]
        image = self.light * np.exp(-(h * self.haematoxylin + e * self.eosin))
        image = image + rng.normal(0, self.grain, (size, size, 1))
        return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)

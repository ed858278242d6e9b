"""Stain and camera model per patient: converts dye concentrations to an RGB image."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

# Optical density of the two dyes in R, G, B (Ruifrok and Johnston 2001).
HEMATOXYLIN = (0.650, 0.704, 0.286)
EOSIN = (0.072, 0.990, 0.105)


@dataclass(frozen=True)
class Stain:
    """Stain and camera of one patient, shared by all images of the patient.

    Attributes:
        hematoxylin: (3,) optical density in R, G, B of a hematoxylin concentration of 1.
        eosin: (3,) optical density in R, G, B of an eosin concentration of 1.
        light: (3,) R, G, B of bare glass, 0 to 1.
        blur: standard deviation of the blur, in 1/128 of the image side.
        grain: standard deviation of the sensor noise, as a fraction of the full intensity range.
    """

    hematoxylin: np.ndarray
    eosin: np.ndarray
    light: np.ndarray
    blur: float
    grain: float

    @classmethod
    def draw(cls, rng: np.random.Generator, spread: float) -> "Stain":
        """Draw the stain of a patient. A `spread` of 0 gives identical stains, 1 the variation between laboratories."""

        def dye(vector: tuple[float, float, float], low: float, high: float) -> np.ndarray:
            turned = np.clip(np.array(vector) + spread * rng.normal(0, 0.11, 3), 0.02, None)
            strength = (low * high) ** 0.5 * (high / low) ** (spread * (rng.random() - 0.5))
            density: np.ndarray = turned / np.sqrt((turned**2).sum()) * strength
            return density

        return cls(
            hematoxylin=dye(HEMATOXYLIN, 1.0, 2.2),
            eosin=dye(EOSIN, 0.5, 1.4),
            light=1 - spread * rng.uniform(0.0, 0.14, 3) - 0.02,
            blur=float(0.45 + spread * rng.uniform(-0.2, 0.4)),
            grain=float(rng.uniform(0.008, 0.02)),
        )

    def render(self, hematoxylin: np.ndarray, eosin: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Render an image by the Beer-Lambert law.

        Args:
            hematoxylin: (size, size) concentration, 0 or more.
            eosin: (size, size) concentration, 0 or more.
            rng: generator of the section thickness and of the noise.

        Returns:
            (size, size, 3) uint8 image.
        """
        size = len(hematoxylin)
        thickness = rng.normal(1, 0.04, 2)
        sigma = self.blur * size / 128
        h = gaussian_filter(hematoxylin * thickness[0], sigma)[..., None]
        e = gaussian_filter(eosin * thickness[1], sigma)[..., None]
        light = self.light * np.exp(-(h * self.hematoxylin + e * self.eosin))
        light = light + rng.normal(0, self.grain, (size, size, 1))
        image: np.ndarray = np.clip(np.rint(light * 255), 0, 255).astype(np.uint8)
        return image

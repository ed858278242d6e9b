"""Anatomy of a phantom: a body with two touching organs and a lesion.

Lengths are fractions of half the field of view. The axes point to the right, the front and the head of the patient.
"""

from dataclasses import dataclass

import numpy as np

LABELS = ("upper organ", "lower organ", "lesion")
# Mean relative intensities of the body and of the two organs; 0 is air.
_TISSUE = 0.3
_ORGANS = (0.55, 0.75)
_LESION_CONTRAST = 0.2

# x, y and z coordinates of the points, in three arrays of one shape.
Points = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class SmoothField:
    """Smooth scalar field: a sum of plane waves that are longer than the organs.

    Attributes:
        waves: (K, 5): amplitude, phase, and angular frequency along each of the three axes.
    """

    waves: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, amplitude: float, count: int = 3) -> "SmoothField":
        """Draw a field of `count` waves. Its absolute values rarely exceed `amplitude`."""
        sizes = amplitude * rng.uniform(0.5, 1.0, (count, 1)) / count**0.5
        return cls(np.hstack([sizes, rng.uniform(0, 2 * np.pi, (count, 1)), rng.uniform(-5, 5, (count, 3))]))

    def values(self, points: Points) -> np.ndarray:
        """Return the values at the points, in the shape of the points."""
        x, y, z = points
        total = np.zeros(x.shape)
        for amplitude, phase, u, v, w in self.waves.tolist():
            total += amplitude * np.sin(u * x + v * y + w * z + phase)
        return total


@dataclass(frozen=True)
class Ellipsoid:
    """Ellipsoid with axes parallel to those of the patient."""

    center: np.ndarray
    radii: np.ndarray

    def rho(self, points: Points) -> np.ndarray:
        """Return the distance from the center as a fraction of the distance to the surface, which has the value 1."""
        parts = zip(points, self.center.tolist(), self.radii.tolist(), strict=True)
        squares = [((axis - center) / radius) ** 2 for axis, center, radius in parts]
        rho: np.ndarray = np.sqrt(squares[0] + squares[1] + squares[2])
        return rho


@dataclass(frozen=True)
class Anatomy:
    """Anatomy of one patient.

    Attributes:
        body: outline of the body.
        organs: upper and lower organ, which overlap. A voxel in both belongs to the organ with the smaller `rho`.
        lesion: lesion within one of the organs; None without a lesion.
        intensities: (4,) relative intensity of the body, of both organs and of the lesion; 0 is air.
        warp: displacement of the points along each of the three axes.
    """

    body: Ellipsoid
    organs: tuple[Ellipsoid, Ellipsoid]
    lesion: Ellipsoid | None
    intensities: np.ndarray
    warp: tuple[SmoothField, SmoothField, SmoothField]

    @classmethod
    def draw(cls, rng: np.random.Generator, lesion: bool) -> "Anatomy":
        """Draw the anatomy of a patient, with or without a lesion."""
        body = Ellipsoid(rng.uniform(-0.03, 0.03, 3), rng.uniform((0.80, 0.68, 0.84), (0.90, 0.80, 0.94)))
        upper, lower = rng.uniform(0.25, 0.33, 3), rng.uniform(0.30, 0.38, 3)
        axis = np.array([*rng.uniform(-0.4, 0.4, 2), 1.0])
        axis /= np.sqrt((axis**2).sum())
        contact = rng.uniform(-0.08, 0.08, 3)
        # The contact point is inside both organs, at 0.9 of the distance from the center to the surface.
        reach = [0.9 / np.sqrt(((axis / radii) ** 2).sum()) for radii in (upper, lower)]
        organs = (Ellipsoid(contact + reach[0] * axis, upper), Ellipsoid(contact - reach[1] * axis, lower))
        # The lesion is always drawn, so that `lesion` does not change the other random numbers.
        levels = np.array([_TISSUE, *_ORGANS]) + rng.uniform(-0.04, 0.04, 3)
        host, contrast = int(rng.integers(2)), rng.choice([-_LESION_CONTRAST, _LESION_CONTRAST])
        offset = rng.normal(0, 1, 3)
        offset *= 0.4 * organs[host].radii / np.sqrt((offset**2).sum())
        radius = rng.uniform(0.45, 0.6) * organs[host].radii.min()
        focus = Ellipsoid(organs[host].center + offset, np.full(3, radius))
        first, second, third = (SmoothField.draw(rng, 0.06) for _ in range(3))
        return cls(
            body,
            organs,
            focus if lesion else None,
            np.array([*levels, levels[1 + host] + contrast]),
            (first, second, third),
        )

    def render(self, points: Points) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate the anatomy at the centers of voxels.

        Every structure covers at least the voxel nearest to its center, so that small volumes contain all labels.

        Args:
            points: centers of the voxels, three arrays of shape (X, Y, Z), in fractions of half the field of view.

        Returns:
            Intensities (X, Y, Z) float64, and label numbers (X, Y, Z) uint8.
        """
        x, y, z = (axis + field.values(points) for axis, field in zip(points, self.warp, strict=True))
        warped = (x, y, z)
        upper, lower = (organ.rho(warped) for organ in self.organs)
        mask = np.where(lower < upper, 2, 1).astype(np.uint8)
        mask[np.minimum(upper, lower) >= 1] = 0
        for label, rho in ((1, upper), (2, lower)):
            mask.flat[rho.argmin()] = label
        if self.lesion is not None:
            rho = self.lesion.rho(warped)
            mask[(rho < 1) & (mask > 0)] = 3
            mask.flat[rho.argmin()] = 3
        image = np.where(self.body.rho(warped) < 1, self.intensities[0], 0.0)
        image = np.where(mask > 0, self.intensities[mask], image)
        return image, mask

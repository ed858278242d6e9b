"""Phantom: drawn volume of one patient. Each patient has a random anatomy, voxel grid and scanner."""

from dataclasses import dataclass

import numpy as np

from medtune.data.synthetic.anatomy import Anatomy, Points, SmoothField
from medtune.data.volume_files import DrawnVolume

_FIELD_OF_VIEW_MM = (86.0, 106.0)
_MAX_TILT = np.deg2rad(12.0)


@dataclass(frozen=True)
class Grid:
    """Voxel grid of one volume.

    Attributes:
        shape: number of voxels along the stored axes.
        affine: (4, 4) float64, maps voxel indices to millimeters along the RAS axes (right, anterior, superior).
        center: (3,) center of the field of view in these millimeters.
        half: half of the field of view in millimeters.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    center: np.ndarray
    half: float

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int, anisotropic: bool) -> "Grid":
        """Draw a grid in a random orientation.

        The field of view is a cube. Half of the grids are tilted by up to 12 degrees.

        Args:
            rng: generator of the patient.
            size: number of voxels along an axis.
            anisotropic: make the voxels 2 to 3 times longer along one axis. This axis then has fewer voxels.

        Returns:
            The grid.
        """
        field_of_view = float(rng.uniform(*_FIELD_OF_VIEW_MM))
        counts = np.full(3, size)
        thick_axis, ratio = int(rng.integers(3)), rng.uniform(2, 3)
        if anisotropic:
            counts[thick_axis] = round(size / ratio)
        order, signs = rng.permutation(3), rng.choice([-1.0, 1.0], 3)
        axis, angle = rng.normal(0, 1, 3), rng.uniform(-_MAX_TILT, _MAX_TILT) * rng.integers(2)
        rotation = _rotation(axis / np.sqrt((axis**2).sum()), float(angle))
        center = rng.uniform(-40, 40, 3)
        shape, affine = counts[order], np.eye(4)
        for stored, anatomical in enumerate(order):
            affine[:3, stored] = rotation[:, anatomical] * signs[stored] * field_of_view / shape[stored]
        affine[:3, 3] = center - (affine[:3, :3] * ((shape - 1) / 2)).sum(axis=1)
        x, y, z = shape.tolist()
        return cls((x, y, z), affine, center, field_of_view / 2)

    def points(self) -> Points:
        """Return the voxel centers in fractions of half the field of view, as three arrays of `shape`."""
        i, j, k = np.ogrid[tuple(slice(count) for count in self.shape)]
        # Sums of products instead of a matrix product, whose rounding depends on the number of threads.
        rows = ((row, center) for row, center in zip(self.affine[:3].tolist(), self.center.tolist(), strict=True))
        x, y, z = ((a * i + b * j + c * k + d - center) / self.half for (a, b, c, d), center in rows)
        return x, y, z


@dataclass(frozen=True)
class Scanner:
    """Scanner settings of one patient.

    Attributes:
        gain: factor from relative to stored intensities, 10 to 3,200.
        noise: standard deviation of the noise in each of the two receiver channels, relative to the gain.
        bias: logarithm of the bias field, a smooth factor of the intensity.
    """

    gain: float
    noise: float
    bias: SmoothField

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Scanner":
        """Draw the scanner of a patient."""
        return cls(float(10 ** rng.uniform(1, 3.5)), float(rng.uniform(0.03, 0.06)), SmoothField.draw(rng, 0.25))

    def acquire(self, image: np.ndarray, points: Points, rng: np.random.Generator) -> np.ndarray:
        """Return the measured magnitude, with Rician noise (Gudbjartsson and Patz 1995).

        Args:
            image: (X, Y, Z) relative intensities.
            points: voxel centers, as `Grid.points` returns them.
            rng: generator of the noise.

        Returns:
            (X, Y, Z) float32 intensities.
        """
        signal = image * np.exp(self.bias.values(points))
        real, imaginary = self.noise * rng.normal(0, 1, (2, *image.shape))
        measured: np.ndarray = (self.gain * np.sqrt((signal + real) ** 2 + imaginary**2)).astype(np.float32)
        return measured


def draw_phantom(patient: int, size: int, lesion: bool, anisotropic: bool, seed: int) -> DrawnVolume:
    """Draw the volume of one patient.

    Equal arguments give equal bytes in every process, because the function uses no library with threads.

    Args:
        patient: number of the patient.
        size: number of voxels along an axis, at least 16.
        lesion: draw a lesion.
        anisotropic: draw thick slices along one axis.
        seed: seed of the data set.

    Returns:
        A volume of one channel, with the labels of `medtune.data.synthetic.anatomy.LABELS`, in a random orientation.
    """
    # Each part has its own generator, so that `lesion` and `anisotropic` do not change the other parts.
    streams = np.random.SeedSequence([seed, patient]).spawn(4)
    body, geometry, settings, noise = (np.random.default_rng(stream) for stream in streams)
    anatomy, grid = Anatomy.draw(body, lesion), Grid.draw(geometry, size, anisotropic)
    points = grid.points()
    image, mask = anatomy.render(points)
    return DrawnVolume(Scanner.draw(settings).acquire(image, points, noise)[None], mask, grid.affine)


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """Return the (3, 3) matrix of a rotation about a unit vector, by the formula of Rodrigues."""
    x, y, z = axis.tolist()
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: np.ndarray = (
        np.eye(3) * np.cos(angle) + np.sin(angle) * cross + (1 - np.cos(angle)) * np.outer(axis, axis)
    )
    return rotation

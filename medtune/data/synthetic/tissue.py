"""Four synthetic tissues that differ in the arrangement of cells, not in color.

`glands`: cells in rings around an open lumen. `nests`: cells packed in solid islands. `cords`: cells in single file
between fibers. `pools`: clumps of cells in pale pools. Every tissue has about the same amount of nuclei, fibers and
clear gaps. Brightness and color therefore reveal little about the class.
"""

from dataclasses import dataclass, field

import numpy as np

from medtune.data.synthetic.shapes import SIDE, Blob, draw_nuclei, grid, hexagonal_points, noise, place_circles


@dataclass(frozen=True)
class CellStyle:
    """Appearance of one patient's cells, independent of the tissue. Lengths are in 1/128 of the image side.

    Attributes:
        nucleus: mean radius of a nucleus.
        aspect: mean ratio of length to width of a nucleus.
        darkness: mean hematoxylin concentration of a nucleus.
        structure: factor of the radius of glands, nests, pools and gaps.
        irregular: irregularity of outlines; 0 for circles.
        fiber_period: distance between neighboring fibers.
        secretion: relative eosin concentration of the secretion in lumens and pools.
    """

    nucleus: float
    aspect: float
    darkness: float
    structure: float
    irregular: float
    fiber_period: float
    secretion: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "CellStyle":
        """Draw the style of a patient."""
        return cls(
            nucleus=rng.uniform(1.9, 2.7),
            aspect=rng.uniform(1.1, 1.6),
            darkness=rng.uniform(0.75, 1.1),
            structure=rng.uniform(0.8, 1.25),
            irregular=rng.uniform(0.08, 0.22),
            fiber_period=rng.uniform(4.5, 9.0),
            secretion=rng.uniform(0.0, 0.35),
        )


@dataclass
class Canvas:
    """Image to draw on. All images are (size, size).

    Attributes:
        size: side of the image in pixels.
        rng: generator of the image.
        style: cells of the patient.
        y: vertical coordinates of the pixels, in 1/128 of the image side.
        x: horizontal coordinates of the pixels.
        hematoxylin: concentration, without nuclei.
        eosin: concentration.
        bend: direction of the fibers in radians.
        occupied: True where a structure covers the fibers.
        nuclei: arrays of nuclei, see `draw_nuclei`.
    """

    size: int
    rng: np.random.Generator
    style: CellStyle
    y: np.ndarray = field(init=False)
    x: np.ndarray = field(init=False)
    hematoxylin: np.ndarray = field(init=False)
    eosin: np.ndarray = field(init=False)
    bend: np.ndarray = field(init=False)
    occupied: np.ndarray = field(init=False)
    nuclei: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Fill the image with fibers that follow one bent direction."""
        self.y, self.x = grid(self.size)
        self.occupied = np.zeros((self.size, self.size), bool)
        angle = self.rng.uniform(0, np.pi)
        across = self.x * np.sin(angle) - self.y * np.cos(angle) + 9 * noise(self.rng, self.size, 50)
        slope_y, slope_x = np.gradient(across)
        self.bend = np.arctan2(-slope_x, slope_y)
        wave = across / self.style.fiber_period + 0.35 * noise(self.rng, self.size, 12)
        bundles = np.sin(2 * np.pi * wave) * np.clip(0.6 + 0.5 * noise(self.rng, self.size, 30), 0, 1)
        self.eosin = 0.55 + 0.2 * bundles + 0.1 * noise(self.rng, self.size, 5)
        self.hematoxylin = 0.05 + 0.02 * noise(self.rng, self.size, 16)

    def cells(self, points: np.ndarray, direction: np.ndarray | float, scale: float = 1.0, aspect: float = 0) -> None:
        """Add nuclei.

        Args:
            points: (m, 2) y and x of the centers.
            direction: direction of the long axes in radians, one value or (m,).
            scale: factor of the radius.
            aspect: mean ratio of length to width; 0: that of the style.
        """
        m, style, rng = len(points), self.style, self.rng
        radius = scale * style.nucleus * rng.lognormal(0, 0.13, m)
        stretch = np.maximum(1, rng.normal(aspect or style.aspect, 0.15, m))
        angle = direction + rng.normal(0, 0.25, m)
        dark = style.darkness * rng.uniform(0.7, 1.1, m)
        self.nuclei.append(np.stack([points[:, 0], points[:, 1], radius, stretch, angle, dark], axis=1))

    def tint(self, weight: np.ndarray, hematoxylin: float, eosin: float) -> None:
        """Blend the canvas with concentrations. `weight` (size, size) is their fraction, 0 to 1.

        Pixels with a weight above 0.5 become occupied.
        """
        self.hematoxylin += weight * (hematoxylin - self.hematoxylin)
        self.eosin += weight * (eosin - self.eosin)
        self.occupied |= weight > 0.5

    def sample(self, values: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return the (m,) values of the pixels at the (m, 2) points."""
        index = np.clip(np.floor(points * (self.size / SIDE)).astype(int), 0, self.size - 1)
        sampled: np.ndarray = values[index[:, 0], index[:, 1]]
        return sampled


def below(rho: np.ndarray, limit: float, soft: float) -> np.ndarray:
    """Return 1 where `rho` is below `limit` and 0 above it, with a linear ramp of width `soft`."""
    return np.clip((limit - rho) / soft + 0.5, 0, 1)


def blobs(view: Canvas, low: float, high: float, count: int, gap: float) -> list[Blob]:
    """Draw up to `count` outlines that are about `gap` apart, with radii from `low` to `high` times the structure."""
    radii = view.style.structure * view.rng.uniform(low, high, count)
    circles = place_circles(view.rng, radii.tolist(), gap)
    return [Blob.draw(view.rng, y, x, radius, view.style.irregular) for y, x, radius in circles]


def glands(view: Canvas, amount: float) -> None:
    """Draw rings of cells around a lumen, between fibers."""
    for blob in blobs(view, 13, 24, round(9 * amount), 1.5):
        rho = blob.rho(view.y, view.x)
        wall = 3.6 * view.style.nucleus / blob.radius
        lumen = max(0.12, 1 - wall)
        view.tint(below(rho, 1, 0.1), 0.12, 0.62)
        view.tint(below(rho, lumen, 0.12), 0.02, view.style.secretion * view.rng.uniform(0, 1.6))
        ring = blob.ring(view.rng, 1 - 0.4 * wall, 2.35 * view.style.nucleus)
        view.cells(ring[:, :2] + view.rng.normal(0, 0.35, (len(ring), 2)), ring[:, 2], aspect=1.5)


def nests(view: Canvas, amount: float) -> None:
    """Draw solid islands of packed cells, some with a cleft between island and fibers."""
    cleft = view.rng.uniform(0, 2.5)
    for blob in blobs(view, 12, 24, round(9 * amount), 1.5):
        rho = blob.rho(view.y, view.x)
        view.tint(below(rho, 1 + cleft / blob.radius, 0.06), 0.02, 0.06)
        view.tint(below(rho, 1, 0.1), 0.14, 0.58)
        points = hexagonal_points(view.rng, 2.75 * view.style.nucleus)
        points = points[blob.rho(points[:, 0], points[:, 1]) < 1 - 0.7 * view.style.nucleus / blob.radius]
        view.cells(points, view.rng.uniform(0, np.pi, len(points)))


def cords(view: Canvas, amount: float) -> None:
    """Draw cells in single file, along and across the fibers."""
    spacing = 2.5 * view.style.nucleus
    for _ in range(round(15 * amount)):
        point = view.rng.uniform(0, SIDE, 2)
        turn = view.rng.choice([0, 0, 0.5]) * np.pi + view.rng.normal(0, 0.2)
        line = []
        for _ in range(view.rng.integers(6, 22)):
            if view.sample(view.occupied, point[None])[0] or not (point >= 0).all() or not (point < SIDE).all():
                break
            angle = view.sample(view.bend, point[None])[0] + turn
            line.append([*point, angle])
            point = point + spacing * np.array([np.sin(angle), np.cos(angle)])
        if len(line) < 3:
            continue
        cells = np.array(line)
        squared_distance = np.full((view.size, view.size), np.inf)
        for y, x, _ in cells:
            squared_distance = np.minimum(squared_distance, (view.y - y) ** 2 + (view.x - x) ** 2)
        view.tint(below(np.sqrt(squared_distance), 1.9 * view.style.nucleus, 1.5), 0.1, 0.6)
        view.cells(cells[:, :2] + view.rng.normal(0, 0.4, (len(cells), 2)), cells[:, 2])


def pools(view: Canvas, amount: float) -> None:
    """Draw pale pools with strands and clumps of cells."""
    pale = view.rng.uniform(0.05, 0.16)
    for blob in blobs(view, 20, 36, round(6 * amount), 1.0):
        rho = blob.rho(view.y, view.x)
        view.tint(below(rho, 1, 0.08), pale, 0.04 + 0.5 * view.style.secretion)
        inside = place_circles(view.rng, (blob.radius * view.rng.uniform(0.14, 0.3, 28)).tolist(), 2.5, 0)
        for y, x, radius in inside:
            if blob.rho(np.array(y), np.array(x)) + radius / blob.radius > 0.92:
                continue
            clump = Blob.draw(view.rng, y, x, radius, view.style.irregular)
            view.tint(below(clump.rho(view.y, view.x), 1.1, 0.15), 0.14, 0.6)
            points = hexagonal_points(view.rng, 2.5 * view.style.nucleus)
            points = points[clump.rho(points[:, 0], points[:, 1]) < 0.95]
            view.cells(points, view.rng.uniform(0, np.pi, len(points)))


# Each function draws one tissue. `amount` is a factor of the number of structures.
PAINTERS = {"glands": glands, "nests": nests, "cords": cords, "pools": pools}


def paint(tissue: str, size: int, style: CellStyle, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image of a tissue. Return hematoxylin and eosin concentrations, each (size, size), 0 or more."""
    view = Canvas(size, rng, style)
    gaps(view)
    PAINTERS[tissue](view, rng.uniform(0.75, 1.1))
    scatter_cells(view)
    nuclei = np.concatenate(view.nuclei)
    strands = 0.1 * np.abs(noise(rng, size, 9))
    hematoxylin = np.maximum(view.hematoxylin + 0.3 * strands, draw_nuclei(nuclei, size, rng))
    return np.clip(hematoxylin, 0, None), np.clip(view.eosin + strands, 0, None)


def gaps(view: Canvas) -> None:
    """Draw the clear spaces that occur in every tissue: fat cells, vessels and tears."""
    for blob in blobs(view, 5, 13, int(view.rng.integers(0, 6)), 1):
        view.tint(below(blob.rho(view.y, view.x), 1, 0.15), 0.0, 0.02)


def scatter_cells(view: Canvas) -> None:
    """Draw cells between the structures: spindle cells along the fibers, and round lymphocytes."""
    n_drawn = sum(len(n) for n in view.nuclei)
    points = view.rng.uniform(0, SIDE, (max(30, int(view.rng.integers(120, 240)) - n_drawn), 2))
    points = points[~view.sample(view.occupied, points)]
    spindles = view.rng.random(len(points)) < 0.6
    view.cells(points[spindles], view.sample(view.bend, points[spindles]), 0.75, 3.0)
    view.cells(points[~spindles], 0.0, 0.8, 1.05)

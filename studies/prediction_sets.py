"""Coverage of prediction sets for images of new patients, by calibration method and number of patients.

    python -m studies.prediction_sets

A prediction set has all classes that are probable enough. Its coverage is the fraction of images whose set has the
correct class. A calibration method returns the lowest probability of a class in the set. The table of results is in
docs/evaluation.md.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from medtune.evaluation.conformal import lowest_probability

COVERAGE, PATIENTS, SETS = 0.9, (12, 20, 40, 80), 600
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def draw_scores(rng: np.random.Generator, n_patients: int) -> tuple[Floats, Ints]:
    """Draw 5 to 25 images per patient. The images of a patient have a common random effect on the score.

    Args:
        rng: random generator.
        n_patients: number of patients.

    Returns:
        Probability of the correct label (n,) and patient (n,) of each image.
    """
    positive, images = rng.random(n_patients) < 2 / 3, rng.integers(5, 26, n_patients)
    patients = np.repeat(np.arange(n_patients), images)
    sign = np.where(positive, 1, -1)[patients]
    score = rng.normal(0, 1.2, n_patients)[patients] + rng.normal(size=len(patients)) + 1.2 * sign
    return 1 / (1 + np.exp(-sign * score)), patients


def hierarchical(rng: np.random.Generator, scores: Floats, patients: Ints) -> float:
    """Hierarchical conformal prediction, the method of MedTune."""
    limit = lowest_probability(scores, patients, COVERAGE)
    assert limit is not None
    return limit


def pooled(rng: np.random.Generator, scores: Floats, patients: Ints) -> float:
    """Quantile of all images with equal weight per patient, without the correction for a new patient."""
    images = np.bincount(patients)
    order = np.argsort(-scores)
    covered = np.cumsum(1 / images[patients[order]])
    return float(scores[order][min(int(np.searchsorted(covered, COVERAGE * len(images))), len(order) - 1)])


def independent(rng: np.random.Generator, scores: Floats, patients: Ints) -> float:
    """Split conformal prediction as if images were independent."""
    return _split(scores)


def one_image(rng: np.random.Generator, scores: Floats, patients: Ints) -> float:
    """Split conformal prediction on one random image per patient."""
    return _split(np.array([rng.choice(scores[patients == patient]) for patient in np.unique(patients)]))


def _split(scores: Floats) -> float:
    """Return the limit of split conformal prediction; 0 if there are too few scores."""
    rank = int(np.ceil(COVERAGE * (len(scores) + 1) - 1e-9))
    return float(np.sort(scores)[::-1][rank - 1]) if rank <= len(scores) else 0.0


METHODS: tuple[Callable[[np.random.Generator, Floats, Ints], float], ...] = (
    hierarchical,
    pooled,
    independent,
    one_image,
)


def coverages(n_patients: int, sets: int, seed: int = 0) -> dict[str, Floats]:
    """Return the coverage (sets,) of each method for images of new patients, with equal weight per patient."""
    rng = np.random.default_rng(seed)
    new, new_patients = draw_scores(rng, 20_000)
    images = np.bincount(new_patients)
    results: dict[str, list[float]] = {method.__name__: [] for method in METHODS}
    for _ in range(sets):
        scores, patients = draw_scores(rng, n_patients)
        for method in METHODS:
            inside = new >= method(rng, scores, patients)
            results[method.__name__].append(float((np.bincount(new_patients, inside) / images).mean()))
    return {name: np.array(values) for name, values in results.items()}


def main() -> None:
    """Print the table."""
    print(f"| patients | {' | '.join(method.__name__ for method in METHODS)} |")
    print("|-" * (1 + len(METHODS)) + "|")
    for n_patients in PATIENTS:
        cells = [f"{values.mean():.3f} ({values.std():.3f})" for values in coverages(n_patients, SETS).values()]
        print(f"| {n_patients} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

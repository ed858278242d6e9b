"""Warnings about a comparison: few patients, one seed, missing trials, or a learning rate at the edge of its grid."""

from medtune.benchmark.report.comparison import Comparison
from medtune.benchmark.report.formatting import resampling_unit, sample_noun
from medtune.config.errors import pluralize
from medtune.evaluation.facts import IMAGE_LEVEL_PROTOCOLS
from medtune.evaluation.intervals import FEW_PATIENTS, too_few

# A warning appears if a larger fraction of the trials selected the lowest or highest learning rate. With three rates,
# two thirds of the trials select such a rate by chance.
EDGE_FRACTION = 0.75


def comparison_warnings(comparison: Comparison) -> list[str]:
    """Return the warnings about a comparison, one sentence or two each, the most important first."""
    if comparison.is_empty:
        return []
    return [
        *_split(comparison),
        *_patients(comparison),
        *_seeds(comparison),
        *_grid(comparison),
        *_machines(comparison),
    ]


def _split(comparison: Comparison) -> list[str]:
    """Warn about splits that are not by patient."""
    items = f"{sample_noun(comparison.cube)}s"
    protocols = sorted({result["protocol"] for result in comparison.cube.results} & set(IMAGE_LEVEL_PROTOCOLS))
    warnings = [
        f"Protocol {name} splits {items}, not patients: leakage between the splits cannot be ruled out."
        for name in protocols
    ]
    if resampling_unit(comparison.cube) != "patient":
        warnings.append(
            f"There are no patient ids. Intervals and tests are over {items}, and are too optimistic "
            f"if several {items} are of one patient."
        )
    return warnings


def _patients(comparison: Comparison) -> list[str]:
    """Warn about few test patients."""
    cube, unit = comparison.cube, resampling_unit(comparison.cube)
    if cube.design is None:
        return [f"There are no intervals and no tests ({too_few(cube.n_patients)})."]
    return [
        f"Only {pluralize(count, f'test {unit}')} with {name}: intervals are wide and approximate."
        for name, count in cube.support.items()
        if 0 < count < FEW_PATIENTS
    ]


def _seeds(comparison: Comparison) -> list[str]:
    """Warn about a single seed."""
    if len(comparison.cube.seeds) == 1:
        return [
            "There is only one seed, so a difference between methods may be random variation between training runs."
        ]
    return []


def _grid(comparison: Comparison) -> list[str]:
    """Warn about missing trials, and about learning rates at the edge of their grid."""
    cube, warnings = comparison.cube, []
    missing = len(cube.trials) - int(cube.is_available.sum())
    if missing:
        warnings.append(
            f"{missing} of {pluralize(len(cube.trials), 'trial')} have no results. Means are over the available seeds, "
            "differences over the common seeds of both methods."
        )
    tried_rates = [({candidate["lr"] for candidate in r.get("trials", [])}, set(r["lr"])) for r in cube.results]
    searched = [(tried, selected) for tried, selected in tried_rates if len(tried) > 1]
    edge = sum(bool({min(tried), max(tried)} & selected) for tried, selected in searched)
    if any(len(tried) > 2 for tried, _ in searched) and edge > EDGE_FRACTION * len(searched):
        warnings.append(
            f"In {edge} of {pluralize(len(searched), 'trial')} the selected learning rate is the lowest or highest "
            "tried. A wider grid might suit these methods better."
        )
    return warnings


def _machines(comparison: Comparison) -> list[str]:
    """Warn about trials on different machines."""
    machines = sorted({f"{r.get('device')}, {r.get('threads')} threads" for r in comparison.cube.results})
    if len(machines) > 1:
        return [f"Trials ran on different machines ({'; '.join(machines)}). Do not compare their times and memory."]
    return []

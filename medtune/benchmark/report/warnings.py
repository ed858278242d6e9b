"""What a block's figures cannot say: few patients, one seed, gaps in the grid, a learning rate at the edge."""

from medtune.benchmark.report.comparison import Comparison
from medtune.benchmark.report.formatting import pluralize, resampling_unit
from medtune.evaluation.facts import IMAGE_LEVEL_PROTOCOLS
from medtune.evaluation.intervals import FEW_PATIENTS, too_few

EDGE_FRACTION = 0.75  # of three learning rates two are at the edge anyway


def comparison_warnings(comparison: Comparison) -> list[str]:
    """One sentence each, the gravest first; empty where there is nothing to warn of."""
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
    found = sorted({result["protocol"] for result in comparison.cube.results} & set(IMAGE_LEVEL_PROTOCOLS))
    said = [f"Protocol {name} splits images, not patients: a leak between them cannot be excluded." for name in found]
    if resampling_unit(comparison.cube) == "image":
        said.append(
            "No patient ids: intervals and tests are over images, and too sure of themselves if images share patients."
        )
    return said


def _patients(comparison: Comparison) -> list[str]:
    cube, of = comparison.cube, resampling_unit(comparison.cube)
    if cube.design is None:
        return [f"{too_few(cube.n_groups)}: there are no intervals and no tests."]
    said = []
    for name, held in cube.support.items():
        if 0 < held < FEW_PATIENTS:
            said.append(f"Only {pluralize(held, f'test {of}')} with {name}: intervals are wide and approximate.")
    return said


def _seeds(comparison: Comparison) -> list[str]:
    if len(comparison.cube.seeds) == 1:
        return [
            "One seed: nothing here tells a method from the luck of its training run; "
            "a difference between methods may be one between seeds."
        ]
    return []


def _grid(comparison: Comparison) -> list[str]:
    cube, said = comparison.cube, []
    missing = len(cube.trials) - int(cube.is_available.sum())
    if missing:
        said.append(
            f"{missing} of {pluralize(len(cube.trials), 'trial')} have no figures: means are over the seeds there are, "
            "differences over the seeds both methods have."
        )
    searched = [result for result in cube.results if len({trial["lr"] for trial in result.get("trials", [])}) > 1]
    edge = 0
    for result in searched:
        tried = [trial["lr"] for trial in result["trials"]]
        edge += bool({min(tried), max(tried)} & set(result["lr"]))
    if any(len({t["lr"] for t in r["trials"]}) > 2 for r in searched) and edge > EDGE_FRACTION * len(searched):
        said.append(
            f"In {edge} of {pluralize(len(searched), 'trial')} the selected learning rate is the lowest or highest "
            "tried. A wider grid might suit these methods better."
        )
    return said


def _machines(comparison: Comparison) -> list[str]:
    found = sorted({f"{r.get('device')}, {r.get('threads')} threads" for r in comparison.cube.results})
    if len(found) > 1:
        return [f"Trials ran on different machines ({'; '.join(found)}): times and memory do not compare."]
    return []

"""What a block's figures cannot say: few patients, one seed, gaps in the grid, a learning rate at the edge."""

from medtune.benchmark.report.comparison import Judged
from medtune.benchmark.report.formatting import counted, number, unit
from medtune.benchmark.report.paired import reachable, smallest
from medtune.evaluation.result import SPLIT_IMAGES
from medtune.tasks.classification.warnings import FEW_GROUPS

EDGE = 0.75  # of three learning rates two are at the edge anyway


def limits(judged: Judged) -> list[str]:
    """One sentence each, the gravest first; empty where there is nothing to warn of."""
    if judged.empty:
        return []
    return [*_split(judged), *_patients(judged), *_seeds(judged), *_grid(judged), *_machines(judged)]


def _split(judged: Judged) -> list[str]:
    found = sorted({result["protocol"] for result in judged.block.results} & set(SPLIT_IMAGES))
    said = [f"Protocol {name} splits images, not patients: a leak between them cannot be excluded." for name in found]
    if unit(judged.block) == "image":
        said.append(
            "No patient ids: intervals and tests are over images, and too sure of themselves if images share patients."
        )
    return said


def _patients(judged: Judged) -> list[str]:
    block, said = judged.block, []
    of, groups, replicates = unit(block), block.n_groups, block.drawn.shape[-1]
    tests = max((len(against) for against in judged.against_best), default=0)
    if not replicates:
        return [f"{counted(groups, f'test {of}')}: nothing to resample, so there are no intervals and no tests."]
    least = reachable(block, tests)
    if tests and least >= judged.alpha:
        few = 2.0 ** (1 - groups) >= 2 / (replicates + 1)
        over = f", after Holm over {tests} none below {number(least, 4)}" if tests > 1 else ""
        said.append(
            f"{counted(groups, f'test {of}') if few else counted(replicates, 'resample')}: no p-value can be below "
            f"{number(smallest(groups, replicates), 4)}{over}, so nothing can separate here; "
            "methods that do not separate are not shown to be equal."
        )
    for name, held in block.support.items():
        if 0 < held < FEW_GROUPS:
            said.append(f"Only {counted(held, f'test {of}')} with {name}: intervals are too narrow.")
    return said


def _seeds(judged: Judged) -> list[str]:
    if len(judged.block.seeds) == 1:
        return [
            "One seed: nothing here tells a method from the luck of its training run; "
            "a difference between methods may be one between seeds."
        ]
    return []


def _grid(judged: Judged) -> list[str]:
    block, said = judged.block, []
    missing = len(block.cells) - int(block.have.sum())
    if missing:
        said.append(
            f"{missing} of {counted(len(block.cells), 'cell')} have no figures: means are over the seeds there are, "
            "differences over the seeds both methods have."
        )
    searched = [result for result in block.results if len({trial["lr"] for trial in result.get("trials", [])}) > 1]
    edge = 0
    for result in searched:
        tried = [trial["lr"] for trial in result["trials"]]
        edge += result["lr"] in (min(tried), max(tried))
    if any(len({t["lr"] for t in r["trials"]}) > 2 for r in searched) and edge > EDGE * len(searched):
        said.append(
            f"In {edge} of {counted(len(searched), 'cell')} the chosen learning rate is the lowest or highest tried: "
            "a wider grid might serve those methods better."
        )
    return said


def _machines(judged: Judged) -> list[str]:
    found = sorted({f"{r.get('device')}, {r.get('threads')} threads" for r in judged.block.results})
    if len(found) > 1:
        return [f"Cells ran on different machines ({'; '.join(found)}): times and memory do not compare."]
    return []

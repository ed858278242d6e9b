"""A user's mistakes, one by one: each must be named in one line, with exit code 2, or 1 where a run fails."""

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from torture.outcome import Outcome
from torture.wrong.expected_errors import Case, ask, difference, judge, snapshot, start

NUMBER = 15
TITLE = "wrong size, channels, dtype, class count, missing key, unknown method, NaN loss, and their kin"
TARGET = "an error that names it, exit 2 (input) or 1 (run), 100 %"
BLOCKS = 4
TAKE_OUT = {"benchmark", "data", "evaluate", "export", "stage", "train"}
UNFINISHED = re.compile(r"/\.[^/]+\.(partial|training)/")


def parts(full: bool) -> dict[str, dict[str, Any]]:
    """Groups of cases; what needs no torch in the small form."""
    if not full:
        return {"values": {"what": "values", "every": 24}, "params": {"what": "params"}}
    values = {f"values-{block}": {"what": "values", "every": BLOCKS, "first": block} for block in range(BLOCKS)}
    others = ("params", "grids", "places", "images", "networks", "settings", "bundles", "runs")
    return {**values, **{name: {"what": name} for name in others}}


def inject(folder: Path, what: str, every: int = 1, first: int = 0) -> Outcome:
    """Makes the mistakes of one group, every `every`th from `first` on."""
    outcome, out, inputs = Outcome(), folder / "out", folder / "inputs"
    small = folder / "small.yaml"
    _write_small(small)
    if what in ("settings", "bundles", "runs"):
        _make_world(out, small)
    with _own_cache(folder / "cache"):
        if what == "bundles":
            _ask_bundles(outcome, folder, out / "artifacts" / "export")
        else:
            for case in islice(_cases(what, inputs, small), first, None, every):
                _try(outcome, case, out)
    return outcome


def _cases(what: str, inputs: Path, small: Path) -> Iterator[Case]:
    from torture.wrong import files as wrong_files
    from torture.wrong import networks as wrong_networks
    from torture.wrong import places as wrong_places
    from torture.wrong import values as wrong_values

    if what == "values":
        yield from wrong_values.cases()
    elif what == "params":
        yield from wrong_files.params_files(inputs)
    elif what == "grids":
        yield from wrong_places.grids(inputs)
    elif what == "places":
        yield from wrong_places.remotes()
        yield from wrong_places.recipes(inputs)
    elif what == "images":
        yield from wrong_files.image_folders(inputs, small)
    elif what == "networks":
        yield from wrong_networks.shapes(small)
    elif what == "settings":
        yield from wrong_networks.fits_not_the_data(small)
        yield from wrong_networks.weights(inputs, small)
    else:
        from torture.wrong.runs import runs

        yield from runs(small)


def _try(outcome: Outcome, case: Case, out: Path, placed: bool = True) -> None:
    if placed and case.command.split()[0] in TAKE_OUT:
        case = dataclasses.replace(case, words=("--out", str(out), *case.words))
    before = snapshot(out.parent)
    ended = start(case) if case.own_process else ask(case)
    wrote = difference(_finished(before), _finished(snapshot(out.parent)))
    outcome.count(case.name, judge(case, ended) or wrote)


def _finished(found: dict[str, Any]) -> dict[str, Any]:
    """Without what may be written: logs, what can be recomputed, and the unfinished part of a run that failed."""
    return {name: said for name, said in found.items() if not name.startswith("cache/") and not UNFINISHED.search(name)}


def _ask_bundles(outcome: Outcome, folder: Path, right: Path) -> None:
    from PIL import Image

    from torture.wrong import bundles as wrong_bundles

    picture = folder / "picture.png"
    Image.new("RGB", (20, 12), (200, 90, 160)).save(picture)
    cases: Iterable[Case] = [
        *wrong_bundles.words(right, picture, folder / "inputs"),
        *wrong_bundles.bundles(folder / "inputs" / "bundles", right, picture),
    ]
    for case in cases:
        _try(outcome, case, folder / "out")
    for found in (wrong_bundles.arrays(right), wrong_bundles.requests(right, picture)):
        for name, fault in found:
            outcome.count(name, fault)


def _write_small(path: Path) -> None:
    from medtune.config.load import yaml_loader
    from torture.job import TREE

    with path.open("w", encoding="utf-8") as stream:
        yaml_loader().dump(TREE, stream)


def _make_world(out: Path, small: Path) -> None:
    """A finished job in `out`: nothing of it may be lost to any mistake."""
    from medtune.config.load import load
    from medtune.runtime.paths import RunPaths
    from medtune.stages import data
    from torture.job import train

    chosen, paths = load(small), RunPaths(out, out.parent / "cache")
    data.run(chosen, paths)
    train(chosen, paths)


class _own_cache:
    """`$MEDTUNE_CACHE` in the scenario's folder, and no settings of the caller's."""

    NAMES = ("PREFECT_API_URL", "WANDB_API_KEY", "WORLD_SIZE", "RANK")

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def __enter__(self) -> None:
        self.before = dict(os.environ)
        os.environ.update(MEDTUNE_CACHE=str(self.cache), MEDTUNE_DEVICE="cpu")
        for name in self.NAMES:
            os.environ.pop(name, None)

    def __exit__(self, *error: object) -> None:
        os.environ.clear()
        os.environ.update(self.before)

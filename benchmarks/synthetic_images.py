"""Params and prepared data for the benchmarks of training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from medtune.config.load import DEFAULT_PARAMS, apply_overrides, merge, read, validate
from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset, load_prepared
from medtune.runtime.paths import RunPaths
from medtune.stages import data

# A small data set, so that both variants of a comparison take only seconds.
SMALL_DATASET: dict[str, Any] = {"data": {"labels": "binary", "patients": 20, "images_per_patient": 6}}

# The weights are random, because weights do not affect the time.
Backbone = Annotated[
    str | None, typer.Option(metavar="NAME", help="Time this timm backbone at 224 pixels with random weights.")
]


def backbone_overrides(backbone: str | None) -> list[str]:
    """Return the `--set` values for a backbone; empty for None."""
    if backbone is None:
        return []
    return [f"model.backbone={backbone}", "model.weights=none", "model.backbone_args={}", "data.image_size=224"]


def benchmark_params(file: Path | None, sets: Sequence[str], settings: dict[str, Any]) -> Params:
    """Return the default params, changed by `file` (None: SMALL_DATASET), then by `sets`, and then by `settings`."""
    tree = read(DEFAULT_PARAMS)
    merge(tree, read(file) if file else SMALL_DATASET)
    apply_overrides(tree, sets)
    merge(tree, {**settings, "tracking": {"mode": "disabled"}})
    return validate(tree)


def prepare(params: Params, folder: Path) -> tuple[RunPaths, PreparedDataset]:
    """Prepare the data set of `params`; outputs and cache are in `folder`."""
    paths = RunPaths(folder / "out", folder / "cache")
    data.run(params, paths)
    return paths, load_prepared(paths.prepared)

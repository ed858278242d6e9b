"""What benchmarks of training run on: params over the checkout's, and their data prepared in a folder of their own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from medtune.config.load import DEFAULT_PARAMS, apply_overrides, merge, read, validate
from medtune.config.schema import Params
from medtune.data.manifest import PreparedDataset, load_prepared
from medtune.runtime.paths import RunPaths
from medtune.stages import data

# Small enough that both sides of a comparison take seconds.
SMALL: dict[str, Any] = {"data": {"labels": "binary", "patients": 20, "images_per_patient": 6}}

# Weights do not change how long a network takes.
Backbone = Annotated[
    str | None, typer.Option(metavar="NAME", help="A timm backbone at 224 pixels with random weights, for its times.")
]


def of(backbone: str | None) -> list[str]:
    """`--set` values for that backbone; none for None."""
    if backbone is None:
        return []
    return [f"model.backbone={backbone}", "model.weights=none", "model.backbone_args={}", "data.image_size=224"]


def chosen(file: Path | None, sets: Sequence[str], own: dict[str, Any]) -> Params:
    """The checkout's params; over them a small drawn set, or `file` where there is one; then `sets`, then `own`."""
    tree = read(DEFAULT_PARAMS)
    merge(tree, read(file) if file else SMALL)
    apply_overrides(tree, sets)
    merge(tree, {**own, "tracking": {"mode": "disabled"}})
    return validate(tree)


def prepare(params: Params, folder: Path) -> tuple[RunPaths, PreparedDataset]:
    """The data of `params`, packed under `folder`, where the cache lies too."""
    paths = RunPaths(folder / "out", folder / "cache")
    data.run(params, paths)
    return paths, load_prepared(paths.prepared)

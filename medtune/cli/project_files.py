"""Files of a new project, written from the shipped template."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtune.config import load
from medtune.config.project import PACKAGE, PARAMS_FILE
from medtune.config.task_labels import SEGMENTATION
from medtune.config.volume_model import UNUSED
from medtune.runtime.artifact import write_text

TEMPLATE = PACKAGE / "template"
IGNORED = """\
.venv/
.cache/
/artifacts/
/published/
# ?* rather than *: DVC reads * as the folder data/ itself, and would not look for .dvc files in it
/data/?*
!/data/*.dvc
!/data/.gitignore
!/data/folds.csv
wandb/
dvc_plots/
.env
"""
FOLDS = "patient,fold\n"


def params_tree(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Merge settings into the default params that MedTune contains.

    Args:
        settings: values by dotted key.

    Returns:
        Params as nested dicts with the comments of the default file. Keys that the task does not use are left out.

    Raises:
        InputError: the result is invalid.
    """
    tree = load.read(load.SHIPPED)
    plugins = {key: value for key, value in settings.items() if key.rpartition(".")[2] in load.PLUGIN_KEYS}
    for key, value in {**plugins, **settings}.items():
        overlay: Any = value
        for name in reversed(key.split(".")):
            overlay = {name: overlay}
        load.merge(tree, overlay)
    if tree["task"]["kind"] == SEGMENTATION:
        for section, keys in UNUSED.items():
            for key in keys:
                tree[section].pop(key, None)
    load.validate(tree)
    return tree


def write(folder: Path, tree: dict[str, Any], with_dvc: bool) -> list[str]:
    """Write the files of a project. Existing files are kept, except params.yaml.

    Args:
        folder: project folder.
        tree: params as nested dicts.
        with_dvc: True to write dvc.yaml, prefect.yaml, benchmark.yaml and data/folds.csv.

    Returns:
        Names of the files that were written.
    """
    files = {PARAMS_FILE: _dump(tree), ".gitignore": IGNORED}
    if with_dvc:
        files |= {
            "dvc.yaml": _pipeline(),
            "data/folds.csv": FOLDS,
            **{name: (TEMPLATE / name).read_text(encoding="utf-8") for name in ("prefect.yaml", "benchmark.yaml")},
        }
    written = [name for name in files if name == PARAMS_FILE or not (folder / name).exists()]
    if not Path(tree["data"]["root"]).is_absolute():
        (folder / tree["data"]["root"]).mkdir(
            parents=True, exist_ok=True
        )  # DVC needs the folder of the synthetic set too
    for name in written:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_text(folder / name, files[name])
    return written


def _pipeline() -> str:
    """Return the content of dvc.yaml. Unlike the template, it does not depend on source files of MedTune."""
    tree = load.read(TEMPLATE / "dvc.yaml")
    for stage in tree["stages"].values():
        stage["deps"] = [path for path in stage["deps"] if path.startswith(("data/", "${"))]
    return "# After an upgrade of MedTune: dvc repro --force. Unchanged steps are reused.\n" + _dump(tree)


def _dump(tree: dict[str, Any]) -> str:
    text = io.StringIO()
    load.yaml_loader().dump(tree, text)
    return text.getvalue()

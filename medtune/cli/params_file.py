"""Changes to params.yaml. The result is validated before it is written, and the comments are kept."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.config import load
from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.runtime.artifact import write_text

# Data sources that draw their images and read no files.
DRAWN = ("synthetic", "phantom")


def change(target: Path, overlays: Sequence[Path], sets: Sequence[str]) -> list[str]:
    """Merge recipes and overrides into a params file, which is replaced atomically.

    Args:
        target: params file to change.
        overlays: files of recipes, in order.
        sets: overrides `section.key=value`, applied after the recipes.

    Returns:
        Dotted keys that the change removed, for example arguments of the previous backbone.

    Raises:
        InputError: the result is invalid, or its data.root does not exist.
    """
    tree = load.read(target)
    before = _keys(tree)
    for overlay in overlays:
        load.merge(tree, load.read(overlay))
    load.apply_overrides(tree, sets)
    require_root(load.validate(tree))
    text = io.StringIO()
    load.yaml_loader().dump(tree, text)
    write_text(target, text.getvalue())
    after = set(_keys(tree))
    return [key for key in before if key not in after]


def _keys(tree: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted names of all values of nested mappings, in order."""
    names: list[str] = []
    for name, value in tree.items():
        names += _keys(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [f"{prefix}{name}"]
    return names


def require_root(params: Params) -> None:
    """Check that data.root exists. The error message is clearer than the message of DVC about a missing file.

    Args:
        params: validated params.

    Raises:
        InputError: data.root does not exist, and the source neither generates nor downloads images.
    """
    data = params.data
    if data.source in DRAWN or getattr(data, "download", False):
        return
    if data.root is None or not (PROJECT / data.root).exists():
        raise InputError(f"data.root={data.root}: no such folder or file. Set data.root to the folder with your images")

"""Changes to params.yaml that keep its comments, checked before anything is written."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtune.config import load
from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.runtime.artifact import write_text


def change(target: Path, overlays: Sequence[Path], sets: Sequence[str]) -> list[str]:
    """Merge overlays and assignments into a params file, which is replaced as a whole or left as it is.

    Args:
        target: the file to change.
        overlays: recipes, in order.
        sets: `section.key=value` assignments, after the overlays.

    Returns:
        The keys that the file no longer has, such as another backbone's arguments.

    Raises:
        InputError: the result is not valid, or its data.root does not exist.
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
    """Dotted names of all values of nested mappings, in order."""
    found: list[str] = []
    for name, value in tree.items():
        found += _keys(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [f"{prefix}{name}"]
    return found


def require_root(params: Params) -> None:
    """Check that data.root exists: DVC would only report a missing file.

    Raises:
        InputError: no such folder or file, and the source neither draws nor downloads its images.
    """
    data = params.data
    if data.source == "synthetic" or getattr(data, "download", False):
        return
    if data.root is None or not (PROJECT / data.root).exists():
        raise InputError(f"data.root={data.root}: no such folder or file. Set data.root to the folder with your images")

"""`python -m medtune.cli.params recipes/NAME.yaml`: writes a recipe into params.yaml, comments kept."""

import io
from pathlib import Path
from typing import Annotated

import typer

from medtune.config import load
from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.runtime import console
from medtune.runtime.artifact import write_text


def apply(
    recipes: Annotated[list[Path] | None, typer.Argument(help="Overlays, in order: recipes/NAME.yaml.")] = None,
    sets: console.Sets = None,
    target: Annotated[Path, typer.Option("--to", help="The params file to change.")] = load.DEFAULT,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; only say whether the file is right.")] = False,
) -> None:
    """Write recipes and single values into params.yaml; look with `git diff`, then `dvc repro`.

    The result is checked before anything is written.
    """
    if check:
        require_root(load.validate(load.read(target)))
        return
    if not recipes and not sets:
        raise InputError("nothing to apply: name a recipe (recipes/*.yaml) or a --set section.key=value")
    tree = load.read(target)
    for recipe in recipes or []:
        load.merge(tree, load.read(recipe))
    load.assign_all(tree, sets or [])
    require_root(load.validate(tree))
    text = io.StringIO()
    load.parser().dump(tree, text)
    write_text(target, text.getvalue())
    console.say(f"{target.name} written: {', '.join([*(r.name for r in recipes or []), *(sets or [])])}")


def require_root(params: Params) -> None:
    """Refuses a `data.root` that is not there: DVC watches it, and would only say that a file is missing.

    Raises:
        InputError: no such folder or file, and neither drawn nor to be downloaded.
    """
    data = params.data
    if data.source == "synthetic" or getattr(data, "download", False):
        return
    if data.root is None or not (PROJECT / data.root).exists():
        raise InputError(f"data.root is {data.root!r}: there is no such folder or file; name where your images lie")


if __name__ == "__main__":
    console.run(apply)

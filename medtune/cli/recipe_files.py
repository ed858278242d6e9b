"""Search for recipes (files with params) by name.

A recipe of the project takes precedence over a recipe that MedTune contains.
"""

from pathlib import Path

from medtune.config.errors import InputError, suggestion
from medtune.config.project import PACKAGE, PROJECT

FOLDERS = (PROJECT / "recipes", PACKAGE / "template" / "recipes")


def known() -> dict[str, Path]:
    """Return the files of all recipes by name, sorted by name."""
    files = {path.stem: path for folder in reversed(FOLDERS) for path in folder.glob("*.yaml")}
    return dict(sorted(files.items()))


def find(name: str) -> Path:
    """Return the file of a recipe.

    Args:
        name: path of a file, or name in the list of `medtune recipes`.

    Returns:
        Path of the file.

    Raises:
        InputError: there is no such file or recipe.
    """
    if (path := Path(name)).is_file():
        return path
    recipes = known()
    recipe = path.stem if path.suffix == ".yaml" and path.parent.name in ("", "recipes") else name
    if recipe not in recipes:
        raise InputError(
            f"{name}: no such file, and no recipe of this name{suggestion(recipe, list(recipes))}. Check the path, or "
            "list the recipes with `medtune recipes`"
        )
    return recipes[recipe]


def summary(path: Path) -> str:
    """Return the first line of a recipe, a comment that states what the recipe trains."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip().rstrip(":")

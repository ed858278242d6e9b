"""Command `medtune recipes`."""

from typing import Annotated

import typer

from medtune.cli import options
from medtune.cli.json_output import print_json

app = options.program()
app.info.no_args_is_help = False


@app.callback(
    invoke_without_command=True,
    epilog=options.examples("medtune recipes", "medtune recipes show breakhis-binary-vit", "medtune recipes --json"),
)
def recipes(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List the recipes: files with settings for common data sets and methods.

    `medtune params apply NAME` writes the settings of a recipe to params.yaml.
    The option --params FILE of other commands uses the settings only once.
    """
    if context.invoked_subcommand is None:
        _list(as_json)


@app.command("list", epilog=options.examples("medtune recipes list --json"))
def list_recipes(as_json: options.AsJson = False) -> None:
    """List all recipes with a summary."""
    _list(as_json)


@app.command(epilog=options.examples("medtune recipes show breakhis-binary-vit"))
def show(name: Annotated[str, typer.Argument(help="Recipe name or file.")]) -> None:
    """Print a recipe."""
    from medtune.cli.recipe_files import find

    print(find(name).read_text(encoding="utf-8"), end="")


def _list(as_json: bool) -> None:
    from medtune.cli.recipe_files import known, summary

    if as_json:
        print_json([{"name": name, "file": path, "summary": summary(path)} for name, path in known().items()])
        return
    width = max(map(len, known()), default=0)
    for name, path in known().items():
        print(f"{name:<{width}}  {summary(path)}")

"""Command `medtune params`."""

from pathlib import Path
from typing import Annotated

import typer

from medtune.cli import options
from medtune.cli.json_output import print_json

app = options.program()

Target = Annotated[
    Path | None,
    typer.Option("--to", metavar="FILE", help="File to change. Default: params.yaml of the project."),
]
Recipes = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RECIPE]...", help="Names of recipes (see `medtune recipes`) or files. The last one wins."),
]


@app.callback(
    epilog=options.examples(
        "medtune params show model.head",
        "medtune params set finetune.epochs=20 model.peft.method=lora",
        "medtune params apply breakhis-binary-vit",
    )
)
def params() -> None:
    """Show, change, check and explain params.yaml.

    params.yaml in the project folder contains all settings of the pipeline.
    """


@app.command(epilog=options.examples("medtune params show", "medtune params show model --set model.head.kind=linear"))
def show(
    key: Annotated[str | None, typer.Argument(help="Section or key, for example model.head.")] = None,
    params: options.ParamsFile = None,
    overrides: options.Overrides = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the params that a run would use, including defaults."""
    import sys

    from medtune.cli.explain import lookup
    from medtune.config import load

    value = lookup(load.load(params, overrides or ()), key)
    if as_json:
        print_json(value)
    elif isinstance(value, dict):
        load.yaml_loader().dump(value, sys.stdout)
    else:
        print("null" if value is None else value)


@app.command("set", epilog=options.examples("medtune params set finetune.epochs=20 model.peft.method=lora"))
def set_values(
    assignments: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE...", help="Keys and values, for example finetune.epochs=20.")
    ],
    target: Target = None,
) -> None:
    """Set values in params.yaml and keep its comments.

    The result is validated before the file is written.
    """
    _write([], assignments, target)


@app.command(
    epilog=options.examples(
        "medtune params apply breakhis-binary-vit", "medtune params apply my.yaml --set data.root=/path/to/images"
    )
)
def apply(recipes: Recipes = None, overrides: options.Overrides = None, target: Target = None) -> None:
    """Apply recipes to params.yaml and keep its comments.

    A recipe is a file with settings for one use, for example a data set.
    The result is validated before the file is written.
    Review it with `git diff`, then run `dvc repro`.
    """
    _write(recipes or [], overrides or [], target)


@app.command(
    epilog=options.examples("medtune params check", "medtune params check breakhis-binary-vit --set finetune.epochs=20")
)
def check(
    recipes: Recipes = None,
    params: options.ParamsFile = None,
    overrides: options.Overrides = None,
    as_json: options.AsJson = False,
) -> None:
    """Check params.yaml, optionally with recipes and overrides. Changes nothing.

    Exit codes: 0 valid, 2 a key or value is invalid, or data.root does not
    exist.
    """
    from medtune.cli.recipe_files import find

    overlays = [*([params] if params else []), *(find(name) for name in recipes or [])]
    _check(overlays, overrides or [], as_json)


@app.command(
    epilog=options.examples(
        "medtune params explain", "medtune params explain model.head", "medtune params explain frozen.class_weights"
    )
)
def explain(
    key: Annotated[str | None, typer.Argument(help="Section or key. Default: list the sections.")] = None,
    params: options.ParamsFile = None,
    overrides: options.Overrides = None,
    as_json: options.AsJson = False,
) -> None:
    """Explain a section or a key: type, allowed values, default and meaning.

    The keys of data, model.head and model.peft depend on the params
    data.source, model.head.kind and model.peft.method.
    """
    from medtune.cli import explain as text
    from medtune.config.load import load

    fields = text.fields(load(params, overrides or ()), key)
    if as_json:
        print_json(
            [{**field._asdict(), "default": None if field.default is ... else field.default} for field in fields]
        )
    else:
        print("\n".join(text.lines(fields)))


def _check(overlays: list[Path], overrides: list[str], as_json: bool) -> None:
    """Validate params.yaml with overlays and overrides, and print the result."""
    from medtune.cli.params_file import require_root
    from medtune.config import load
    from medtune.config.errors import InputError

    try:
        require_root(load.validate(load.read_tree(overlays, overrides)))
    except InputError as error:
        if as_json:
            print_json({"valid": False, "error": str(error)})
        raise
    if as_json:
        print_json({"valid": True, "error": None})
    else:
        print("params: valid")


def _write(recipes: list[str], overrides: list[str], target: Path | None) -> None:
    """Merge recipes and overrides into the target file, and print what changed."""
    from medtune.cli.params_file import change
    from medtune.cli.recipe_files import find
    from medtune.config.errors import InputError
    from medtune.config.load import DEFAULT_PARAMS, read_base

    if not recipes and not overrides:
        raise InputError("nothing to apply. Name a recipe (see `medtune recipes`) or --set KEY=VALUE")
    if target is None:
        read_base(with_overlay=False)  # raises if there is no project
    overlays = [find(name) for name in recipes]
    removed = change(target or DEFAULT_PARAMS, overlays, overrides)
    print(f"{(target or DEFAULT_PARAMS).name} written: {', '.join([*(path.name for path in overlays), *overrides])}")
    if removed:
        print(f"removed: {', '.join(removed)} (not used with the new setting)")

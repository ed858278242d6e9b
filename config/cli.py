"""What every command line shares: --params, --set, --out, and how it ends (0 done, 1 failed, 2 wrong input)."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from config.errors import InputError

ParamsFile = Annotated[
    Path | None,
    typer.Option("--params", metavar="FILE", help="Whole params file or an overlay on the checkout's params.yaml."),
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one value; may be repeated.")
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Put data/prepared and artifacts under DIR.")]


def run(*commands: Callable[..., None]) -> None:
    """Runs the command, or the one of several that is named first, as this process's command line and exits."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=len(commands) > 1)
    for command in commands:
        app.command()(command)
    try:
        app()
    except InputError as error:
        fail(error)


def fail(error: InputError) -> None:
    """Prints the one line of a user's mistake and exits 2."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


def say(message: str) -> None:
    """One plain line of progress, flushed, on stdout; silent on all but the first of several processes."""
    if os.environ.get("RANK", "0") == "0":
        print(message, flush=True)

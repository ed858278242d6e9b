"""What every command line shares: --params, --set, --out, and how it ends (0 done, 1 failed, 2 wrong input)."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from medtune.config.errors import InputError, RunError

ParamsFile = Annotated[
    Path | None,
    typer.Option("--params", metavar="FILE", help="Whole params file or an overlay on the checkout's params.yaml."),
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override one value; may be repeated.")
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Put data/prepared and artifacts under DIR.")]

# What a disk, not the program, is to blame for.
FULL_OR_CLOSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def run(*commands: Callable[..., None]) -> None:
    """Runs the command, or the one of several that is named first, as this process's command line and exits."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=len(commands) > 1)
    for command in commands:
        app.command()(command)
    try:
        app()
    except (InputError, RunError) as error:
        fail(error)
    except OSError as error:
        if error.errno not in FULL_OR_CLOSED:
            raise
        where = f": {error.filename}" if error.filename else ""
        fail(RunError(f"{error.strerror}{where}; make room or give the right to write, and run again to go on"))


def fail(error: InputError | RunError) -> None:
    """Prints the one line of a user's mistake and exits 2, or of a run that failed and exits 1."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2 if isinstance(error, InputError) else 1)


def say(message: str) -> None:
    """One plain line of progress, flushed, on stdout; silent on all but the first of several processes."""
    if os.environ.get("RANK", "0") == "0":
        print(message, flush=True)

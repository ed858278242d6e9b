"""Run a command line and turn its end into an exit code: 0 done, 1 the run failed, 2 wrong input or usage."""

import errno
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import typer

from medtune.config.errors import InputError, RunError

# Caused by the disk or by permissions, not by a bug.
DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
INSTALL = 'pip install "medtune[train]"'
# Typer has contained click since 0.26 and depended on it before; either way this is the base of BadParameter.
UsageError: type[Any] = typer.BadParameter.__mro__[1]


def execute(command: Any, name: str, words: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; a user's mistake is one line on stderr.

    Args:
        command: what `typer.main.get_command` returns.
        name: program name on help pages.
        words: arguments; None: this process's own.
    """
    try:
        code = command.main(words, prog_name=name, standalone_mode=False)
    except UsageError as error:
        return _format_usage_error(error)
    except InputError as error:
        return _failed(str(error), 2)
    except RunError as error:
        return _failed(str(error), 1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "medtune"):
            raise
        return _failed(f"{package} is not installed. Run {INSTALL}", 2)
    except OSError as error:
        if error.errno not in DISK_ERRNOS:
            raise
        where = f": {error.filename}" if error.filename else ""
        return _failed(f"{error.strerror}{where}. Free disk space or fix the permissions, then run again to resume", 1)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return code if isinstance(code, int) else 0


def run(*commands: Callable[..., None]) -> NoReturn:
    """Run a function as this process's command line and exit; of several, the one named first."""
    app = typer.Typer(add_completion=False, no_args_is_help=len(commands) > 1)
    for command in commands:
        app.command()(command)
    sys.exit(execute(typer.main.get_command(app), "python -m " + commands[0].__module__))


def _failed(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def _format_usage_error(error: Any) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help page
        error.show()
        return 2
    message = error.format_message()
    stop = "" if message.endswith(("?", ".")) else "."
    return _failed(f"{message}{stop} See `{error.ctx.command_path} --help`" if error.ctx else message, 2)

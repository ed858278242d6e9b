"""Execution of a command line. Expected errors become one line on stderr and an exit code.

Exit codes: 0 success, 1 failed run, 2 invalid input or usage.
"""

import errno
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import typer

from medtune.config.errors import InputError, RunError

# Values of errno that are caused by the disk or by permissions.
DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
INSTALL = 'pip install "medtune[train]"'
INSTALL_SEGMENT = 'pip install "medtune[segment]"'
# Packages that only the extra `segment` contains.
SEGMENT_PACKAGES = ("nibabel", "monai", "einops")
# The class UsageError of click. Since version 0.26, Typer contains its own copy of click, so click is not imported.
UsageError: type[Any] = typer.BadParameter.__mro__[1]


def execute(command: Any, name: str, words: Sequence[str] | None = None) -> int:
    """Run a command. Errors of the user or the environment become one line on stderr.

    Args:
        command: result of `typer.main.get_command`.
        name: program name on help pages.
        words: arguments; None for the arguments of this process.

    Returns:
        Exit code: 0 success, 1 failed run, 2 invalid input or usage.

    Raises:
        ModuleNotFoundError: a module of MedTune is missing.
        OSError: an error that is not caused by the disk or by permissions.
        Exception: any other error, which is a bug.
    """
    try:
        code = command.main(words, prog_name=name, standalone_mode=False)
    except UsageError as error:
        return _format_usage_error(error, name)
    except InputError as error:
        return _failed(str(error), 2)
    except RunError as error:
        return _failed(str(error), 1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "medtune"):
            raise
        install = INSTALL_SEGMENT if package in SEGMENT_PACKAGES else INSTALL
        return _failed(f"{package} is not installed. Run {install}", 2)
    except OSError as error:
        if error.errno not in DISK_ERRNOS:
            raise
        where = f": {error.filename}" if error.filename else ""
        return _failed(f"{error.strerror}{where}. Free disk space or fix permissions, then rerun to resume", 1)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return code if isinstance(code, int) else 0


def run(*commands: Callable[..., None]) -> NoReturn:
    """Run a function as the command line of this process, and exit. With several, the first argument selects one."""
    app = typer.Typer(add_completion=False, no_args_is_help=len(commands) > 1)
    for command in commands:
        app.command()(command)
    sys.exit(execute(typer.main.get_command(app), "python -m " + commands[0].__module__))


def _failed(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def _format_usage_error(error: Any, name: str) -> int:
    """Print a message about wrong usage, and return the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help page
        error.show()
        return 2
    message = _invalid_value(error) or _reword(error.format_message())
    stop = "" if message.endswith(("?", ".")) else "."
    path = error.ctx.command_path if error.ctx else name
    return _failed(f"{message}{stop} See `{path} --help`", 2)


def _reword(message: str) -> str:
    """Return a message that begins with the option or argument, as other messages of MedTune do."""
    message = re.sub(r"^Option '(.+)' requires an argument\.", r"\1: a value is missing", message)
    return re.sub(r"^Got unexpected extra argument(?:\(s\)|s)? \((.+)\)", r"\1: unexpected argument", message)


def _invalid_value(error: Any) -> str:
    """Return a short message about an invalid value of an option. Typer would show the message of pydantic.

    Returns:
        The message; an empty string for other errors.
    """
    cause = error.__cause__
    if type(cause).__name__ != "ValidationError" or error.param is None:
        return ""
    problem = cause.errors()[0]
    limits, message = problem.get("ctx", {}), problem["msg"].removeprefix("Value error, ")
    expected = {
        "int_parsing": "an integer",
        "int_from_float": "an integer",
        "float_parsing": "a number",
        "greater_than_equal": f"at least {limits.get('ge')}",
        "less_than_equal": f"at most {limits.get('le')}",
    }.get(problem["type"], "")
    choices = message.partition(" is not one of ")[2]
    name = max(error.param.opts, key=len) if error.param.opts else error.param.human_readable_name
    if choices or expected:
        return f"{name}={problem['input']}: expected {expected or f'one of {choices}'}"
    return f"{name}: {message}"

"""Execution of a command line with exit codes: 0 success, 1 failed run, 2 invalid input or usage."""

import errno
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import typer

from medtune.config.errors import InputError, RunError

# Errno values caused by the disk or permissions, not by a bug.
DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
INSTALL = 'pip install "medtune[train]"'
INSTALL_SEGMENT = 'pip install "medtune[segment]"'
# Packages that only the extra `segment` contains.
SEGMENT_PACKAGES = ("nibabel", "monai", "einops")
# click.UsageError, the base class of BadParameter. Typer contains its own copy of click since version 0.26.
UsageError: type[Any] = typer.BadParameter.__mro__[1]


def execute(command: Any, name: str, words: Sequence[str] | None = None) -> int:
    """Run a command. Errors of the user or the environment become one line on stderr.

    Args:
        command: result of `typer.main.get_command`.
        name: program name on help pages.
        words: arguments. None uses the arguments of this process.

    Returns:
        Exit code: 0 success, 1 failed run, 2 invalid input or usage.

    Raises:
        ModuleNotFoundError: a module of MedTune is missing.
        OSError: an error that is not caused by the disk or permissions.
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
    """Run functions as the command line of this process and exit. The first argument selects one of several."""
    app = typer.Typer(add_completion=False, no_args_is_help=len(commands) > 1)
    for command in commands:
        app.command()(command)
    sys.exit(execute(typer.main.get_command(app), "python -m " + commands[0].__module__))


def _failed(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def _format_usage_error(error: Any, name: str) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help page
        error.show()
        return 2
    message = _invalid_value(error) or _reword(error.format_message())
    stop = "" if message.endswith(("?", ".")) else "."
    path = error.ctx.command_path if error.ctx else name
    return _failed(f"{message}{stop} See `{path} --help`", 2)


def _reword(message: str) -> str:
    """Put the option or argument first, as in the other messages."""
    message = re.sub(r"^Option '(.+)' requires an argument\.", r"\1: a value is missing", message)
    return re.sub(r"^Got unexpected extra argument(?:\(s\)|s)? \((.+)\)", r"\1: unexpected argument", message)


def _invalid_value(error: Any) -> str:
    """Return the message about an option of the wrong type, or an empty string for other errors.

    Typer would show the message of pydantic.
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

"""Server process that imports torch once, and then runs the checks of `medtune doctor` in forked child processes.

A check is a module that runs as `python -m module`. Stdin contains one JSON object per line, with the keys `module` and
`params` (the stdin of the module). Stdout gets one JSON object per line, with the exit `code` (negative for a signal),
the stdout `out` and the stderr `err` of the module.

The server itself computes nothing, because computations may start threads. A child that is forked from a process with
threads may deadlock.
"""

import json
import os
import runpy
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from tempfile import TemporaryFile
from typing import IO, Any


def main() -> None:
    """Import the modules in the arguments, then answer questions until stdin ends."""
    for name in sys.argv[1:]:
        with suppress(ImportError):  # a child process that needs the module reports the error
            import_module(name)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


def answer(module: str, params: str) -> dict[str, Any]:
    """Run a module in a child process.

    Args:
        module: dotted name of the module.
        params: text for the stdin of the module.

    Returns:
        The exit `code`, the stdout `out` and the stderr `err`.
    """
    with TemporaryFile("w+") as stdin, TemporaryFile("w+") as out, TemporaryFile("w+", errors="replace") as err:
        stdin.write(params)
        stdin.seek(0)
        child = os.fork()
        if not child:
            _run(module, (stdin, out, err))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return {"code": code, "out": out.read(), "err": err.read()}


def _run(module: str, streams: tuple[IO[str], IO[str], IO[str]]) -> None:
    """Run a module in this process with the files `streams` as stdin, stdout and stderr. Then exit."""
    code = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream.fileno(), number)
        sys.stdin, sys.stdout, sys.stderr = streams
        sys.argv = [module]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()

"""Server that imports torch once and runs each question of `medtune doctor` in a forked child.

It reads one line of JSON per question from stdin: `module` to run like `python -m module`, and `params` for its stdin.
It writes one line of JSON per answer to stdout: exit `code` (negative for a signal), `out` and `err`. The server itself
computes nothing, because a child forked from a process with running threads may deadlock.
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
        with suppress(ImportError):  # the child that needs it reports the error
            import_module(name)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


def answer(module: str, params: str) -> dict[str, Any]:
    """Run `module` in a child with `params` on its stdin. Return its exit code and output."""
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

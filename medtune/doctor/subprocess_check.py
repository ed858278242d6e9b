"""Runner of checks that need torch. Each check runs in a subprocess, because it may hang, crash or use all memory."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, Any

from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.serving.one_line import last_line

# Modules to import once for all checks, because their import takes most of the time of a check.
PRELOADED = ("torch", "timm")
# Only on Linux, the system libraries are safe after a fork.
CAN_FORK = sys.platform == "linux"


class CheckError(Exception):
    """Failure or timeout of a subprocess."""


@dataclass
class Questions:
    """Runner of modules that print JSON. A question is one run of a module in its own process.

    On Linux, the processes are forked from one server process, which imports `preloaded` (see fork_server.py).

    Attributes:
        preloaded: modules to import once for all questions.
    """

    preloaded: Sequence[str] = PRELOADED
    _server: "subprocess.Popen[str] | None" = field(default=None, init=False, repr=False)
    _errors: IO[str] | None = field(default=None, init=False, repr=False)

    def ask(self, module: str, params: Params, seconds: float) -> dict[str, Any]:
        """Run `python -m module` with the params as JSON on stdin.

        Args:
            module: module to run.
            params: all params.
            seconds: time limit in seconds.

        Returns:
            The JSON object in the last line of the output.

        Raises:
            CheckError: the module failed or exceeded the time limit.
        """
        run = self._run_forked if CAN_FORK else _run_alone
        code, out, err = run(module, params.model_dump_json(), seconds)
        if code:
            raise CheckError(f"{module}: {last_line(err, f'exit code {code}')}")
        answer: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
        return answer

    def close(self) -> None:
        """End the server process and its children. The next question starts a server again."""
        if self._server is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)  # includes children that hang
            self._server.communicate()
            self._server = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def _run_forked(self, module: str, params: str, seconds: float) -> tuple[int, str, str]:
        """Run a module in a child of the server. Return the exit code, stdout and stderr."""
        server = self._server or self._start()
        assert server.stdin is not None and server.stdout is not None  # noqa: PT018
        try:
            server.stdin.write(json.dumps({"module": module, "params": params}) + "\n")
            server.stdin.flush()
            ready, _, _ = select.select([server.stdout], [], [], seconds)
            line = server.stdout.readline() if ready else None
        except BrokenPipeError:
            line = ""
        except BaseException:
            self.close()
            raise
        if line:
            answer = json.loads(line)
            return answer["code"], answer["out"], answer["err"]
        if line is None:
            self.close()
            raise CheckError(f"{module} did not respond within {seconds:.0f} s")
        assert self._errors is not None
        code = server.wait()
        self._errors.seek(0)
        err = self._errors.read()
        self.close()
        return code or 1, "", err

    def _start(self) -> "subprocess.Popen[str]":
        """Start the server process."""
        self._errors = TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "medtune.doctor.fork_server", *self.preloaded],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        return self._server


def _run_alone(module: str, params: str, seconds: float) -> tuple[int, str, str]:
    """Run a module in a new process. Return the exit code, stdout and stderr."""
    try:
        completed = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", module],
            cwd=PROJECT,
            input=params,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise CheckError(f"{module} did not respond within {seconds:.0f} s") from None
    return completed.returncode, completed.stdout, completed.stderr

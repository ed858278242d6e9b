"""Checks that need torch, in subprocesses because they may hang, crash or run out of memory."""

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

# The import of these modules takes most of the time of a check.
PRELOADED = ("torch", "timm")
# On other systems, system libraries are not safe after a fork.
CAN_FORK = sys.platform == "linux"


class CheckError(Exception):
    """A subprocess that failed or timed out."""


@dataclass
class Questions:
    """Runner of modules that print JSON, each in its own process. Forked processes share their imports.

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
            seconds: time limit.

        Returns:
            JSON object in the last line of its output.

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
        """End the processes. The next question starts them again."""
        if self._server is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)  # includes children that hang
            self._server.communicate()
            self._server = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def _run_forked(self, module: str, params: str, seconds: float) -> tuple[int, str, str]:
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

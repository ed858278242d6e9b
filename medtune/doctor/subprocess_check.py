"""A question that needs torch, asked in a process of its own: it may hang, crash or take all memory."""

import json
import subprocess
import sys
from typing import Any

from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.serving.one_line import last_line


class NoAnswer(Exception):
    """The process gave none; the message says why."""


def ask(module: str, params: Params, seconds: float) -> dict[str, Any]:
    """What `python -m module` prints as JSON in its last line, given the params as JSON on stdin.

    Raises:
        NoAnswer: it took longer than `seconds`, or failed.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", module],
            cwd=PROJECT,
            input=params.model_dump_json(),
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{module} did not answer within {seconds:.0f} s") from None
    if done.returncode:
        raise NoAnswer(f"{module}: {last_line(done.stderr, f'exit code {done.returncode}')}")
    return json.loads(done.stdout.strip().splitlines()[-1])

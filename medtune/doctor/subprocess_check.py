"""A question that needs torch, asked in a process of its own: it may hang, crash or take all memory."""

import json
import subprocess
import sys
from typing import Any

from medtune.config.project import PROJECT
from medtune.config.schema import Params
from medtune.serving.one_line import last_line


class CheckError(Exception):
    """The process gave none; the message says why."""


def run_in_subprocess(module: str, params: Params, seconds: float) -> dict[str, Any]:
    """What `python -m module` prints as JSON in its last line, given the params as JSON on stdin.

    Raises:
        CheckError: it took longer than `seconds`, or failed.
    """
    try:
        completed = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", module],
            cwd=PROJECT,
            input=params.model_dump_json(),
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise CheckError(f"{module} did not answer within {seconds:.0f} s") from None
    if completed.returncode:
        raise CheckError(f"{module}: {last_line(completed.stderr, f'exit code {completed.returncode}')}")
    return json.loads(completed.stdout.strip().splitlines()[-1])

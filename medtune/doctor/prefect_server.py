"""Prefect: the server a flow would use, or whether it can start one itself. Imports no Prefect."""

import os
import socket
from importlib.util import find_spec
from pathlib import Path

from medtune.doctor.check_result import CheckResult, Context, failure, ok
from medtune.doctor.folders import check_writable
from medtune.flows import service_address
from medtune.serving.one_line import first_line

HINT = "medtune train --no-prefect runs the same steps without it"


def check_prefect(context: Context) -> CheckResult:
    """The server that PREFECT_API_URL names, this checkout's standing one, or one started for the run."""
    if find_spec("prefect") is None:
        return failure("prefect is not installed", f"make setup; {HINT}")
    named = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if url := named or service_address.running_address(context.paths.cache):
        which = "PREFECT_API_URL" if named else "this checkout's standing server"
        if service_address.is_healthy(url):
            return ok(f"{which} {url} answers")
        fix = "start that server, or unset PREFECT_API_URL" if named else "medtune services down, then up"
        return failure(f"{which} {url} does not answer", f"{fix}; {HINT}")
    home = Path(os.environ.get("PREFECT_HOME") or context.paths.cache / "prefect")
    try:
        check_writable(home)
        with socket.create_server(("127.0.0.1", 0)):
            pass
    except OSError as error:
        return failure(
            f"no server is named, and none can be started with {home}: {error.strerror or first_line(error)}",
            f"set PREFECT_HOME to a folder that can be written; {HINT}",
        )
    return ok(f"no server is named: a run starts its own (10-30 s), with its files in {home}")

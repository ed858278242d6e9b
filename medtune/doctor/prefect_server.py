"""Check of the Prefect server. If none runs, check that a run can start one. This module does not import Prefect."""

import os
import socket
from importlib.util import find_spec
from pathlib import Path

from medtune.doctor.check_result import CheckResult, Context, failure, ok
from medtune.doctor.folders import check_writable
from medtune.flows import service_address
from medtune.serving.one_line import first_line

HINT = "`medtune train --no-prefect` runs the same steps without it"


def check_prefect(context: Context) -> CheckResult:
    """Check the server of PREFECT_API_URL or `medtune services`. If none runs, check that a run can start one."""
    if find_spec("prefect") is None:
        return failure("prefect is not installed", f"run make setup; {HINT}")
    named = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if url := named or service_address.running_address(context.paths.cache):
        which = "PREFECT_API_URL" if named else "the server of `medtune services`"
        if service_address.is_healthy(url):
            return ok(f"{which} {url} responds")
        fix = "start that server, or unset PREFECT_API_URL" if named else "run `medtune services down`, then `up`"
        return failure(f"{which} {url} does not respond", f"{fix}; {HINT}")
    home = Path(os.environ.get("PREFECT_HOME") or context.paths.cache / "prefect")
    try:
        check_writable(home)
        with socket.create_server(("127.0.0.1", 0)):
            pass
    except OSError as error:
        return failure(
            f"no server is running, and none can be started in {home}: {error.strerror or first_line(error)}",
            f"set PREFECT_HOME to a writable folder; {HINT}",
        )
    return ok(f"no server is running: a run starts its own in 10 to 30 s, with files in {home}")

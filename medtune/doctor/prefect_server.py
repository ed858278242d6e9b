"""Prefect: the server a flow would use, or whether it can start one itself. Imports no Prefect."""

import os
import socket
from importlib.util import find_spec
from pathlib import Path

from medtune.doctor.folders import probe
from medtune.doctor.result import Finding, Job, ok, wrong
from medtune.flows import service_address
from medtune.serving.one_line import first_line

WITHOUT = "medtune train --no-prefect runs the same steps without it"


def prefect(job: Job) -> Finding:
    """The server that PREFECT_API_URL names, this checkout's standing one, or one started for the run."""
    if find_spec("prefect") is None:
        return wrong("prefect is not installed", f"make setup; {WITHOUT}")
    named = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if url := named or service_address.running(job.paths.cache):
        which = "PREFECT_API_URL" if named else "this checkout's standing server"
        if service_address.healthy(url):
            return ok(f"{which} {url} answers")
        mend = "start that server, or unset PREFECT_API_URL" if named else "medtune services down, then up"
        return wrong(f"{which} {url} does not answer", f"{mend}; {WITHOUT}")
    home = Path(os.environ.get("PREFECT_HOME") or job.paths.cache / "prefect")
    try:
        probe(home)
        with socket.create_server(("127.0.0.1", 0)):
            pass
    except OSError as error:
        return wrong(f"no server is named, and none can be started with {home}: {error.strerror or first_line(error)}",
                     f"set PREFECT_HOME to a folder that can be written; {WITHOUT}")  # fmt: skip
    return ok(f"no server is named: a run starts its own (10-30 s), with its files in {home}")

"""How Prefect is set up here; must run before `import prefect`. See also prefect.toml, for its own command line."""

import os
import sys
from pathlib import Path

from medtune.config.project import PACKAGE

LOOPBACK = ("127.0.0.1", "localhost")


def bypass_proxy_for_loopback() -> None:
    """Add this machine's own addresses to NO_PROXY: no proxy reaches a server that runs here.

    Nothing is changed where no proxy is set. Both spellings are written, since the lower-case one wins where it is set.
    """
    proxies = ("http_proxy", "https_proxy", "all_proxy")
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in proxies):
        return
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in given.split(",") if host.strip()]
    value = ",".join([*hosts, *(host for host in LOOPBACK if host not in hosts)])
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = value


def child_environment() -> dict[str, str]:
    """Return the environment in which a child process finds this MedTune and this Python's tools.

    The user's project is not on the path: it may have modules of its own with any name.
    """
    installed = PACKAGE.parent.name in ("site-packages", "dist-packages")
    modules = [*([] if installed else [str(PACKAGE.parent)]), *filter(None, [os.environ.get("PYTHONPATH")])]
    tools = [str(Path(sys.executable).parent), *filter(None, [os.environ.get("PATH")])]
    paths = {**({"PYTHONPATH": os.pathsep.join(modules)} if modules else {}), "PATH": os.pathsep.join(tools)}
    bypass_proxy_for_loopback()
    return {**os.environ, **paths, "PYTHONUNBUFFERED": "1"}


def configure_prefect(cache: Path, console: str = "CRITICAL") -> None:
    """Sets Prefect's environment where the user has not: its files in the project's cache, no telemetry, quiet.

    Args:
        cache: the project's.
        console: level from which Prefect's own lines are printed.
    """
    bypass_proxy_for_loopback()
    home = cache / "prefect"
    (home / "results").mkdir(parents=True, exist_ok=True)
    for name, value in {
        "PREFECT_HOME": str(home),
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(home / "results"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # Two slow cores need 10-30 s, 50 s without compiled bytecode.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        # A server that went away, or no longer answers, must not hold a run up for minutes.
        "PREFECT_CLIENT_MAX_RETRIES": "1",
        "PREFECT_API_REQUEST_TIMEOUT": "20",
        # Prefect's shortest; flows/stale_run_automation.py waits for four of them before it calls a run dead.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        # A run's own lines go to stdout and, by these loggers, to Prefect's record of it; the console stays short.
        "PREFECT_LOGGING_EXTRA_LOGGERS": "medtune",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": console,
        "PREFECT_LOGGING_HANDLERS_DEBUG_LEVEL": console,
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    }.items():
        os.environ.setdefault(name, value)

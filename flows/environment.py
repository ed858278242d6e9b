"""Environment variables for Prefect, which must be set before `import prefect`.

The file prefect.toml contains the settings of the command `prefect`.
"""

import os
import sys
from pathlib import Path

from medtune.config.project import PACKAGE

LOOPBACK = ("127.0.0.1", "localhost")


def bypass_proxy_for_loopback() -> None:
    """Add the loopback addresses to NO_PROXY, because a proxy cannot reach a server on this machine.

    If no proxy is configured, nothing changes. Some libraries read NO_PROXY and others read no_proxy, so both are set.
    """
    proxies = ("http_proxy", "https_proxy", "all_proxy")
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in proxies):
        return
    no_proxy = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in no_proxy.split(",") if host.strip()]
    value = ",".join([*hosts, *(host for host in LOOPBACK if host not in hosts)])
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = value


def child_environment() -> dict[str, str]:
    """Return an environment in which a child process finds this installation of MedTune and its tools.

    The user's project is not on the path of Python, because one of its modules could have the name of a package.

    Returns:
        All environment variables for `subprocess`.
    """
    installed = PACKAGE.parent.name in ("site-packages", "dist-packages")
    modules = [*([] if installed else [str(PACKAGE.parent)]), *filter(None, [os.environ.get("PYTHONPATH")])]
    tools = [str(Path(sys.executable).parent), *filter(None, [os.environ.get("PATH")])]
    paths = {**({"PYTHONPATH": os.pathsep.join(modules)} if modules else {}), "PATH": os.pathsep.join(tools)}
    bypass_proxy_for_loopback()
    return {**os.environ, **paths, "PYTHONUNBUFFERED": "1"}


def configure_prefect(cache: Path, console: str = "CRITICAL") -> None:
    """Set Prefect's environment variables unless the user has set them.

    Prefect then stores its files in the cache folder, sends no telemetry, and prints no messages.

    Args:
        cache: cache folder of the project.
        console: minimum level of Prefect's messages on the console; by default, none are printed.
    """
    bypass_proxy_for_loopback()
    home = cache / "prefect"
    (home / "results").mkdir(parents=True, exist_ok=True)
    for name, value in {
        "PREFECT_HOME": str(home),
        "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(home / "results"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # In seconds. The start of a server takes 10-30 s on two slow cores, and 50 s without compiled bytecode.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        # A server that stopped or does not answer must not delay a run for minutes.
        "PREFECT_CLIENT_MAX_RETRIES": "1",
        "PREFECT_API_REQUEST_TIMEOUT": "20",
        # In seconds; Prefect allows no less. After four missing heartbeats, flows/stale_run_automation.py marks a run
        # as Crashed.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        # The loggers whose messages Prefect stores.
        "PREFECT_LOGGING_EXTRA_LOGGERS": "medtune",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": console,
        "PREFECT_LOGGING_HANDLERS_DEBUG_LEVEL": console,
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    }.items():
        os.environ.setdefault(name, value)


def configure_patience() -> None:
    """Set long limits for requests to a busy server, unless the user has set Prefect's variables.

    A scheduled run cannot finish without its server. With the short limits of `configure_prefect`, the run would fail
    if a request takes more than 40 s. Call this function before `configure_prefect`, which keeps existing variables.
    """
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "6")  # with pauses of 2, 4, ... 64 s
    os.environ.setdefault("PREFECT_API_REQUEST_TIMEOUT", "60")

"""Address of this project's Prefect server. This module does not import Prefect."""

import errno
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from medtune.config.errors import InputError
from medtune.flows import environment
from medtune.flows.supervisor import Daemon

LOCAL_HOSTS = ("", "0.0.0.0", "127.0.0.1", "localhost", "::")


def service_daemons(cache: Path) -> tuple[Daemon, Daemon]:
    """Return the daemons of the server and of the worker. They need not be running.

    Args:
        cache: cache folder of the project, which contains the files of the daemons.
    """
    folder = cache / "services"
    return Daemon("server", folder), Daemon("worker", folder)


def running_address(cache: Path) -> str | None:
    """Return the API address of this project's server, or None if the server does not run."""
    return service_daemons(cache)[0].note


def bind_address() -> tuple[str, int]:
    """Return the host and port for a server on this machine: Prefect's settings, by default 127.0.0.1 and 4200.

    Returns:
        (host, port).

    Raises:
        InputError: the port is invalid.
    """
    port = os.environ.get("PREFECT_SERVER_API_PORT") or "4200"
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(f"PREFECT_SERVER_API_PORT={port}: invalid port. Use a number from 1 to 65535")
    return os.environ.get("PREFECT_SERVER_API_HOST") or "127.0.0.1", int(port)


def local_address() -> str:
    """Return the API address of a server on this machine."""
    host, port = bind_address()
    return f"http://{'127.0.0.1' if host in LOCAL_HOSTS else host}:{port}/api"


def configured_address() -> str:
    """Return the API address for services: `$PREFECT_API_URL`, or the address of a server on this machine."""
    return (os.environ.get("PREFECT_API_URL") or local_address()).rstrip("/").replace("//localhost", "//127.0.0.1")


def check_port_free() -> None:
    """Check that no other program uses the port of the server.

    Raises:
        InputError: the port is invalid or in use, or the host is invalid.
    """
    host, port = bind_address()
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError as error:
            reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            raise InputError(
                f"PREFECT_SERVER_API_PORT={port}: cannot listen on {host} ({reason}). Use another port, or set "
                "PREFECT_API_URL to the address of a running Prefect server"
            ) from None


def is_healthy(url: str) -> bool:
    """Return True if a Prefect server answers at `url`."""
    import httpx

    environment.bypass_proxy_for_loopback()
    try:
        return httpx.get(f"{url}/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


def wait_until(condition: Callable[[], bool], is_alive: Callable[[], bool], seconds: float) -> bool:
    """Wait until a condition is true.

    Args:
        condition: condition to wait for.
        is_alive: condition to continue waiting, for example that a process still runs.
        seconds: maximum time to wait in seconds.

    Returns:
        True if `condition` became true in time; False if `is_alive` became false or the time is over.
    """
    end = time.monotonic() + seconds
    while not condition():
        if not is_alive() or time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True

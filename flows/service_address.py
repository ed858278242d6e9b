"""Where the standing Prefect server of this checkout is, or would be; imports nothing of Prefect."""

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
    """The server and the worker, running or not."""
    folder = cache / "services"
    return Daemon("server", folder), Daemon("worker", folder)


def running_address(cache: Path) -> str | None:
    """API address of this checkout's standing server while it runs."""
    return service_daemons(cache)[0].note


def bind_address() -> tuple[str, int]:
    """Host and port of a server started here: Prefect's own settings, or 127.0.0.1 and 4200.

    Raises:
        InputError: the port is none.
    """
    port = os.environ.get("PREFECT_SERVER_API_PORT") or "4200"
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(f"PREFECT_SERVER_API_PORT is {port!r}: a number from 1 to 65535")
    return os.environ.get("PREFECT_SERVER_API_HOST") or "127.0.0.1", int(port)


def local_address() -> str:
    """API address of a server started here."""
    host, port = bind_address()
    return f"http://{'127.0.0.1' if host in LOCAL_HOSTS else host}:{port}/api"


def configured_address() -> str:
    """API address that a service started here uses: `$PREFECT_API_URL`, or that of a server started here."""
    return (os.environ.get("PREFECT_API_URL") or local_address()).rstrip("/").replace("//localhost", "//127.0.0.1")


def check_port_free() -> None:
    """Refuses a port that another program has.

    Raises:
        InputError: it has.
    """
    host, port = bind_address()
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(
                f"PREFECT_SERVER_API_PORT is {port}, on {host}: {reason}; set another, or PREFECT_API_URL to a Prefect "
                "server that is there"
            ) from None


def is_healthy(url: str) -> bool:
    """Whether a Prefect server answers at `url`."""
    import httpx

    environment.bypass_proxy_for_loopback()
    try:
        return httpx.get(f"{url}/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


def wait_until(condition: Callable[[], bool], is_alive: Callable[[], bool], seconds: float) -> bool:
    """Whether `condition` came true while `is_alive` was, within that time."""
    end = time.monotonic() + seconds
    while not condition():
        if not is_alive() or time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True

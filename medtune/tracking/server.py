"""Check of W&B's server and the API key before an upload. Without this check, W&B would retry for minutes."""

import base64
import json
import os
import urllib.error
import urllib.request

TIMEOUT_S = 15.0


class ServerUnreachable(Exception):
    """W&B's server does not respond; the message gives the reason."""


class KeyRefused(Exception):
    """W&B's server rejects the API key."""


def server_url() -> str:
    """Return the URL of W&B's server: `$WANDB_BASE_URL`, or the public server."""
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").rstrip("/")


def check_key(key: str) -> None:
    """Check that the server responds and accepts the API key.

    Args:
        key: W&B API key.

    Raises:
        ServerUnreachable: no connection, or a response that is not from a W&B server.
        KeyRefused: the server rejects the key.
    """
    credentials = base64.b64encode(f"api:{key}".encode()).decode()
    query = json.dumps({"query": "query Viewer { viewer { id } }"}).encode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
    try:
        request = urllib.request.Request(f"{server_url()}/graphql", query, headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            viewer = json.load(response)["data"]["viewer"]
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise KeyRefused(f"{server_url()} rejects the key in $WANDB_API_KEY") from None
        raise ServerUnreachable(f"{server_url()} responds with {error.code} {error.reason}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "reason", None) or error
        text = getattr(reason, "strerror", None) or reason  # without "[Errno 111]"
        raise ServerUnreachable(f"{server_url()} does not respond: {text}") from None
    if viewer is None:
        raise KeyRefused(f"{server_url()} rejects the key in $WANDB_API_KEY")

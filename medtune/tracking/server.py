"""Whether W&B's server answers and knows the key: asked before anything is sent, for W&B itself retries for minutes."""

import base64
import json
import os
import urllib.error
import urllib.request

TIMEOUT_S = 15.0


class ServerUnreachable(Exception):
    """W&B's server does not answer; the message says why."""


class KeyRefused(Exception):
    """W&B's server does not know the key."""


def server_url() -> str:
    """Address of W&B's server: `$WANDB_BASE_URL`, or the public one."""
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").rstrip("/")


def check_key(key: str) -> None:
    """Returns where the server answers and knows `key`.

    Raises:
        ServerUnreachable: no connection, or an answer that no W&B server gives.
        KeyRefused: the key is unknown there.
    """
    told = base64.b64encode(f"api:{key}".encode()).decode()
    question = json.dumps({"query": "query Viewer { viewer { id } }"}).encode()
    headers = {"Authorization": f"Basic {told}", "Content-Type": "application/json"}
    try:
        request = urllib.request.Request(f"{server_url()}/graphql", question, headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            viewer = json.load(answer)["data"]["viewer"]
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise KeyRefused(f"{server_url()} does not know the key in $WANDB_API_KEY") from None
        raise ServerUnreachable(f"{server_url()} answers {error.code} {error.reason}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ServerUnreachable(f"{server_url()} does not answer: {getattr(error, 'reason', None) or error}") from None
    if viewer is None:
        raise KeyRefused(f"{server_url()} does not know the key in $WANDB_API_KEY")

"""Notifications about failed runs, for the hooks `on_failure` and `on_crashed` of a Prefect flow.

`$MEDTUNE_ALERT_URL` is a webhook that accepts {"text": ...}, as in Slack, Mattermost and Rocket.Chat.
`$MEDTUNE_ALERT_TEMPLATE` is a text file that replaces alert.txt, the template of the message.
"""

import os
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.objects import FlowRun, State

TEMPLATE = Path(__file__).with_name("alert.txt")
URL_VARIABLE = "MEDTUNE_ALERT_URL"
TIMEOUT_S = 10.0


def notify(flow: "Flow[..., Any]", flow_run: "FlowRun", state: "State[Any]") -> None:
    """Log that a run failed, and send the message to the webhook if there is one. Delivery problems are only logged."""
    notify_by_name(flow.name, flow_run, state)


def notify_by_name(flow: str, flow_run: "FlowRun", state: "State[Any]") -> None:
    """Notify about a run, as `notify` does, given the name of its flow instead of the flow."""
    from prefect.logging.loggers import flow_run_logger
    from prefect.utilities.urls import url_for

    log = flow_run_logger(flow_run)
    fields = {
        "flow": flow,
        "run": flow_run.name,
        "state": state.name or state.type.value,
        "message": state.message or "no reason given",
        "url": url_for(flow_run) or "",
    }
    text, warning = template()
    if warning:
        log.warning("%s", warning)
    alert = message(text, fields)
    log.error("%s", alert)
    if (url := os.environ.get(URL_VARIABLE)) and (error := send(url, alert)):
        log.warning("the alert was not delivered: %s", error)


def template() -> tuple[str, str | None]:
    """Return the text of the template and a warning. The warning is None unless the user's file cannot be read."""
    user_template = os.environ.get("MEDTUNE_ALERT_TEMPLATE")
    try:
        return Path(user_template or TEMPLATE).read_text(encoding="utf-8"), None
    except (OSError, UnicodeDecodeError) as error:
        warning = f"MEDTUNE_ALERT_TEMPLATE={user_template}: cannot be read ({type(error).__name__}). Using alert.txt"
        return TEMPLATE.read_text(encoding="utf-8"), warning


def message(text: str, fields: dict[str, str]) -> str:
    """Replace the placeholders $flow, $run, $state, $message and $url in `text`. Any other $ is kept."""
    return Template(text).safe_substitute(fields).strip()


def send(url: str, text: str) -> str | None:
    """Post {"text": text} to the webhook.

    Returns:
        An error message without the address, which is a secret. None after success.
    """
    import httpx

    try:
        response = httpx.post(url, json={"text": text}, timeout=TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return f"{URL_VARIABLE}: {type(error).__name__}"
    return None if response.is_success else f"{URL_VARIABLE} answered {response.status_code}"

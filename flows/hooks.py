"""Who is told of a run that failed or crashed: a hook for Prefect's `on_failure` and `on_crashed`.

`$MEDTUNE_ALERT_URL` is a webhook that takes {"text": ...}, as Slack's, Mattermost's and Rocket.Chat's do;
`$MEDTUNE_ALERT_TEMPLATE` is a file to use in place of alert.txt.
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
    """Writes the message into the run's log and, where there is a webhook, sends it; never raises."""
    notify_by_name(flow.name, flow_run, state)


def notify_by_name(flow: str, flow_run: "FlowRun", state: "State[Any]") -> None:
    """The same, of a flow that is known by name alone."""
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
    text, trouble = template()
    if trouble:
        log.warning("%s", trouble)
    said = message(text, fields)
    log.error("%s", said)
    if (url := os.environ.get(URL_VARIABLE)) and (refused := send(url, said)):
        log.warning("the alert was not delivered: %s", refused)


def template() -> tuple[str, str | None]:
    """The template's text, and what was wrong with the user's own."""
    own = os.environ.get("MEDTUNE_ALERT_TEMPLATE")
    try:
        return Path(own or TEMPLATE).read_text(encoding="utf-8"), None
    except (OSError, UnicodeDecodeError) as error:
        trouble = f"MEDTUNE_ALERT_TEMPLATE is {own}: it cannot be read ({type(error).__name__}); using alert.txt"
        return TEMPLATE.read_text(encoding="utf-8"), trouble


def message(text: str, fields: dict[str, str]) -> str:
    """`text` with $flow, $run, $state, $message and $url filled in; what else it says with a $ stays."""
    return Template(text).safe_substitute(fields).strip()


def send(url: str, text: str) -> str | None:
    """Posts {"text": text}; gives why it did not arrive, or None. The address is a secret and not in the reason."""
    import httpx

    try:
        answer = httpx.post(url, json={"text": text}, timeout=TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return f"{URL_VARIABLE}: {type(error).__name__}"
    return None if answer.is_success else f"{URL_VARIABLE} answered {answer.status_code}"

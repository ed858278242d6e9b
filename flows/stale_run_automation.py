"""Automations of the Prefect server that mark runs without heartbeats as Crashed and send a notification.

An automation is a rule that the server applies to its events. A run sends a heartbeat regularly while its process
lives. The automations are needed if no worker runs. A new worker marks the dead runs itself (flows/mark_crashed.py).
"""

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from medtune.flows import hooks

if TYPE_CHECKING:
    from prefect.automations import Automation
    from prefect.client.orchestration import SyncPrefectClient

SCHEDULED = ["retrain", "benchmark-scheduled"]
FLOWS = [*SCHEDULED, "train", "benchmark"]
HEARTBEAT_TIMEOUT = timedelta(seconds=120)  # four heartbeats; see flows/environment.py
WEBHOOK_BLOCK = "medtune-alert"
HEARTBEAT = "prefect.flow-run.heartbeat"
STATES = ("Completed", "Failed", "TimedOut", "Crashed", "Cancelled", "AwaitingRetry")
ENDED = {f"prefect.flow-run.{state}" for state in STATES}
MARK_NAME = "MedTune: mark runs without a heartbeat"
NOTIFY_NAME = "MedTune: tell of runs without a heartbeat"  # the name must not change, because servers store it
REASON = "no heartbeat for {} s: the process has ended"


def ensure_automations(silent: timedelta = HEARTBEAT_TIMEOUT) -> None:
    """Create or update the automations on the server of Prefect's settings. Disabled automations stay disabled.

    Without $MEDTUNE_ALERT_URL, the automation that sends notifications is deleted.

    Args:
        silent: time without a heartbeat after which a run is marked as Crashed. It must be several times the interval
            of the heartbeats.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        _upsert(client, _crash_automation(silent))
        if url := os.environ.get(hooks.URL_VARIABLE):
            _upsert(client, _notify_automation(url))
        else:
            for automation in client.read_automations_by_name(NOTIFY_NAME):
                client.delete_automation(automation.id)


def _upsert(client: "SyncPrefectClient", automation: "Automation") -> None:
    """Create an automation, or update it if it differs. An unneeded update would reset the timers of the server."""
    existing = next(iter(client.read_automations_by_name(automation.name)), None)
    if existing is None:
        automation.create()
        return
    automation.id, automation.enabled = existing.id, existing.enabled
    if any(getattr(existing, name) != getattr(automation, name) for name in ("description", "trigger", "actions")):
        automation.update()


def _crash_automation(silent: timedelta) -> "Automation":
    """Return the automation that marks a run as Crashed if no heartbeat and no final state follows in time."""
    from prefect.automations import Automation, ChangeFlowRunState, EventTrigger, Posture
    from prefect.client.schemas.objects import StateType

    reason = REASON.format(round(silent.total_seconds()))
    return Automation(
        name=MARK_NAME,
        description="marks a run of MedTune whose process has ended as Crashed (flows/stale_run_automation.py)",
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *ENDED},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=_matching(FLOWS),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=silent,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=reason)],
    )


def _notify_automation(url: str) -> "Automation":
    """Return the automation that sends alert.txt to the webhook after a scheduled run was marked as Crashed."""
    from prefect.automations import Automation, CallWebhook, EventTrigger, Posture
    from prefect.blocks.webhook import Webhook

    block = Webhook(url=url, headers={"Content-Type": "application/json"}).save(WEBHOOK_BLOCK, overwrite=True)
    text, _ = hooks.template()
    fields = {
        "flow": "{{ flow.name }}",
        "run": "{{ flow_run.name }}",
        "state": "{{ flow_run.state.name }}",
        "message": "{{ flow_run.state.message }}",
        "url": "{{ flow_run|ui_url }}",
    }
    payload = f'{{% set text %}}{hooks.message(text, fields)}{{% endset %}}{{"text": {{{{ text|tojson }}}}}}'
    return Automation(
        name=NOTIFY_NAME,
        description="sends flows/alert.txt to $MEDTUNE_ALERT_URL (flows/stale_run_automation.py)",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Crashed"},
            match={
                "prefect.resource.id": "prefect.flow-run.*",
                "prefect.state-message": REASON.partition("{")[0] + "*",
            },
            match_related=_matching(SCHEDULED),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[CallWebhook(block_document_id=block, payload=payload)],
    )


def _matching(flows: list[str]) -> dict[str, Any]:
    """Return the filter for events of the given flows. Other flows on the server may not send heartbeats."""
    return {"prefect.resource.role": "flow", "prefect.resource.name": flows}

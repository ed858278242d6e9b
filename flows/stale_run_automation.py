"""Automations on a server: a run that sends no heartbeats any more is marked as Crashed, and somebody is told of it.

For when nobody else can: the process is gone, its worker too, and no other has come (flows/mark_crashed.py).
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
NOTIFY_NAME = "MedTune: tell of runs without a heartbeat"
REASON = "no heartbeat for {} s: its process is gone"


def ensure_automations(silent: timedelta = HEARTBEAT_TIMEOUT) -> None:
    """Makes the server that Prefect's settings name have these automations, as they are here; disabled ones stay so.

    Args:
        silent: after so long without a heartbeat a run has crashed; it must exceed the heartbeats' interval by far.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        _upsert(client, _crash_automation(silent))
        if url := os.environ.get(hooks.URL_VARIABLE):
            _upsert(client, _notify_automation(url))
        else:
            for found in client.read_automations_by_name(NOTIFY_NAME):
                client.delete_automation(found.id)


def _upsert(client: "SyncPrefectClient", automation: "Automation") -> None:
    """Creates it, or updates it where it differs: a server that updates one forgets what it was waiting for."""
    found = next(iter(client.read_automations_by_name(automation.name)), None)
    if found is None:
        automation.create()
        return
    automation.id, automation.enabled = found.id, found.enabled
    if any(getattr(found, name) != getattr(automation, name) for name in ("description", "trigger", "actions")):
        automation.update()


def _crash_automation(silent: timedelta) -> "Automation":
    """Marks a run as Crashed where a heartbeat is followed neither by another, within that time, nor by its end."""
    from prefect.automations import Automation, ChangeFlowRunState, EventTrigger, Posture
    from prefect.client.schemas.objects import StateType

    reason = REASON.format(round(silent.total_seconds()))
    return Automation(
        name=MARK_NAME,
        description="marks a run of MedTune whose process is gone as Crashed (flows/stale_run_automation.py)",
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
    """Sends alert.txt to the webhook when the other one has marked a scheduled run."""
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
    """Runs of these flows alone: others on the same server may send heartbeats seldom, or never."""
    return {"prefect.resource.role": "flow", "prefect.resource.name": flows}

"""Automations on a server: a run whose process is gone is marked as Crashed, and somebody is told of it.

A process that was killed can do neither. A run that holds its folder's lock also sweeps (flows/sweep.py): task runs
too, but only as the next one starts.
"""

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flows import alert

if TYPE_CHECKING:
    from prefect.automations import Automation
    from prefect.client.orchestration import SyncPrefectClient

SCHEDULED = ["retrain", "benchmark-scheduled"]
FLOWS = [*SCHEDULED, "train", "benchmark"]
SILENT = timedelta(seconds=120)  # four heartbeats; see flows/environment.py
NOT_STARTED = timedelta(minutes=10)
BLOCK = "medtune-alert"
ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "TimedOut", "Crashed", "Cancelled")}
TELL = "MedTune: tell of crashed runs"


def ensure(silent: timedelta = SILENT, not_started: timedelta = NOT_STARTED) -> None:
    """Makes the server that Prefect's settings name have these automations, as they are here; an enabled one stays so.

    Args:
        silent: after so long without a heartbeat a run has crashed; it must exceed the heartbeats' interval by far.
        not_started: after so long a run that a worker took, and that did not start, has crashed.
    """
    from prefect.client.orchestration import get_client

    beat, taken = "prefect.flow-run.heartbeat", "prefect.flow-run.Pending"
    with get_client(sync_client=True) as client:
        _put(client, _crashed("MedTune: runs without a heartbeat", beat, beat, silent))
        _put(client, _crashed("MedTune: runs that did not start", taken, "prefect.flow-run.Running", not_started))
        if url := os.environ.get(alert.URL):
            _put(client, _told(url))
            os.environ[alert.TOLD_BY_SERVER] = "1"
        else:
            for found in client.read_automations_by_name(TELL):
                client.delete_automation(found.id)


def _put(client: "SyncPrefectClient", wanted: "Automation") -> None:
    """Creates it, or updates it where it differs: a server that updates one forgets what it was waiting for."""
    found = next(iter(client.read_automations_by_name(wanted.name)), None)
    if found is None:
        wanted.create()
        return
    wanted.id, wanted.enabled = found.id, found.enabled
    if any(getattr(found, name) != getattr(wanted, name) for name in ("description", "trigger", "actions")):
        wanted.update()


def _crashed(name: str, after: str, living: str, within: timedelta) -> "Automation":
    """Marks a run as Crashed where `after` is followed neither by its end nor by `living`, within that time."""
    from prefect.automations import Automation, ChangeFlowRunState, EventTrigger, Posture
    from prefect.client.schemas.objects import StateType

    reason = f"no sign of life for {within.total_seconds():.0f} s: its process is gone"
    return Automation(
        name=name,
        description="marks a run of MedTune whose process is gone as Crashed (flows/watch.py)",
        trigger=EventTrigger(
            after={after},
            expect={living, *ENDED, "prefect.flow-run.AwaitingRetry"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=_of(FLOWS),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=reason)],
    )


def _told(url: str) -> "Automation":
    """Sends alert.txt to the webhook when a scheduled run has crashed, whoever marked it."""
    from prefect.automations import Automation, CallWebhook, EventTrigger, Posture
    from prefect.blocks.webhook import Webhook

    block = Webhook(url=url, headers={"Content-Type": "application/json"}).save(BLOCK, overwrite=True)
    text, _ = alert.template()
    fields = {
        "flow": "{{ flow.name }}",
        "run": "{{ flow_run.name }}",
        "state": "{{ flow_run.state.name }}",
        "message": "{{ flow_run.state.message }}",
        "url": "{{ flow_run|ui_url }}",
    }
    payload = f'{{% set text %}}{alert.message(text, fields)}{{% endset %}}{{"text": {{{{ text|tojson }}}}}}'
    return Automation(
        name=TELL,
        description="sends flows/alert.txt to $MEDTUNE_ALERT_URL (flows/watch.py)",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Crashed"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=_of(SCHEDULED),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[CallWebhook(block_document_id=block, payload=payload)],
    )


def _of(flows: list[str]) -> dict[str, Any]:
    """Runs of these flows alone: others on the same server may send heartbeats seldom, or never."""
    return {"prefect.resource.role": "flow", "prefect.resource.name": flows}

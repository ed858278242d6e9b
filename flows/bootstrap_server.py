"""Setup of a Prefect server: the work pool of the worker, the deployments and the automations.

The worker is the process that starts scheduled runs. The work pool is its queue. A deployment is a flow that can be
scheduled. An automation is a rule of the server (flows/stale_run_automation.py).
"""

import subprocess
import sys
from typing import TYPE_CHECKING
from uuid import UUID

from medtune.config.project import PROJECT
from medtune.flows import mark_crashed, stale_run_automation
from medtune.runtime.console import info

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

POOL = "medtune"


def bootstrap() -> None:
    """Create the work pool, the automations and the deployments of prefect.yaml.

    Unfinished runs of an earlier worker are marked as Crashed. Paused schedules stay paused. Call this function before
    a worker of the pool starts.

    Raises:
        subprocess.CalledProcessError: `prefect deploy` failed. Its output is on stdout.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        ensure_pool(client)
        stale_run_automation.ensure_automations()
        mark_dead_runs(client)
        paused = _paused(client)
        subprocess.run([sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"], cwd=PROJECT, check=True)
        _pause(client, paused)


def ensure_pool(client: "SyncPrefectClient") -> None:
    """Create the work pool if it does not exist, and limit it to one flow run at a time.

    Two runs at a time would write to the same checkout. A limit that the user has set is kept.
    """
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        if client.read_work_pool(POOL).concurrency_limit is None:
            client.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=1))
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(
            WorkPoolCreate(name=POOL, type="process", base_job_template=template, concurrency_limit=1)
        )


def mark_dead_runs(client: "SyncPrefectClient", report: bool = True) -> None:
    """Mark unfinished runs of the pool as Crashed. Call this function only while no worker of the pool runs.

    Args:
        client: client of the Prefect server.
        report: send notifications about scheduled runs.
    """
    for name in mark_crashed.mark_crashed_of_worker(client, lambda run: run.work_pool_name == POOL, report):
        info(f"{name}: crashed, {mark_crashed.MESSAGE}")


def _paused(client: "SyncPrefectClient") -> set[tuple[UUID, str | None]]:
    """Return the deployment id and the slug of every paused schedule. `prefect deploy` would activate them."""
    return {
        (deployment.id, schedule.slug)
        for deployment in client.read_deployments()
        for schedule in deployment.schedules
        if not schedule.active
    }


def _pause(client: "SyncPrefectClient", paused: set[tuple[UUID, str | None]]) -> None:
    """Pause the schedules of `paused` again."""
    for deployment in client.read_deployments():
        for schedule in deployment.schedules:
            if schedule.active and (deployment.id, schedule.slug) in paused:
                client.update_deployment_schedule(deployment.id, schedule.id, active=False)
                info(f"{deployment.name}: the schedule stays paused")

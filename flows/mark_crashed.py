"""Marking of dead runs, whose process has ended although their state is Running, as Crashed.

Two processes can detect dead runs. The process that holds the lock of a folder (medtune.runtime.lock.output_lock)
knows that all other runs of this folder have ended. A new worker knows that the runs of its predecessor have ended
(flows/exit_with_parent.py). Subflow runs and task runs are marked too. Scheduled runs also send a notification
(flows/hooks.py), because they could not send it themselves.
"""

import logging
from typing import TYPE_CHECKING
from uuid import UUID

from medtune.flows.hooks import notify_by_name

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.objects import FlowRun

log = logging.getLogger("medtune.flow")

MESSAGE = "the process has ended"


def tag(out: str) -> str:
    """Return the tag of flow runs that hold the lock of the folder `out`."""
    return f"out:{out}"


def mark_crashed(out: str, caller: UUID) -> list[str]:
    """Mark unfinished flow runs of other processes in a folder as Crashed. The caller must hold the folder's lock.

    Runs that wait for the lock are alive and not tagged yet. If the server does not answer, a warning is logged.

    Args:
        out: folder that contains artifacts/.
        caller: flow run of the caller. It is tagged with the folder and not marked. It has no subflow runs yet.

    Returns:
        Names of the marked flow runs.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterTags

    mark = tag(out)
    dead = FlowRunFilter(tags=FlowRunFilterTags(all_=[mark]), id=FlowRunFilterId(not_any_=[caller]))
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(caller, tags={*client.read_flow_run(caller).tags, mark})
            return mark_dead(client, dead)
    except Exception:  # the states of dead runs must not fail this run
        log.warning("dead runs could not be marked as crashed", exc_info=True)
        return []


def mark_dead(client: "SyncPrefectClient", dead: "FlowRunFilter", report: bool = True) -> list[str]:
    """Mark unfinished flow runs, and their subflow runs and task runs, as Crashed.

    Args:
        client: client of the Prefect server.
        dead: filter for flow runs whose processes have ended.
        report: send notifications about scheduled runs.

    Returns:
        Names of the marked flow runs.
    """
    marked = _mark(client, dead)
    for run in marked if report else ():
        if run.deployment_id and run.state:
            notify_by_name(client.read_flow(run.flow_id).name, run, run.state)
    return [run.name for run in marked]


def _mark(client: "SyncPrefectClient", dead: "FlowRunFilter") -> list["FlowRun"]:
    """Mark runs as Crashed. Tasks are marked last, because their state shows that subflow runs may be unfinished."""
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    unfinished = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    flow_state = filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=unfinished))
    task_state = filters.TaskRunFilterState(type=filters.TaskRunFilterStateType(any_=unfinished))
    marked = client.read_flow_runs(flow_run_filter=dead.model_copy(update={"state": flow_state}))
    for run in marked:
        run.state = Crashed(message=MESSAGE)
        client.set_flow_run_state(run.id, run.state, force=True)
    # Workers and automations mark only flow runs, so the flow runs of these tasks may be finished.
    tasks = client.read_task_runs(flow_run_filter=dead, task_run_filter=filters.TaskRunFilter(state=task_state))
    if tasks:
        parents = filters.FlowRunFilterParentTaskRunId(any_=[task.id for task in tasks])
        marked += _mark(client, filters.FlowRunFilter(parent_task_run_id=parents))
    for task in tasks:
        client.set_task_run_state(task.id, Crashed(message=MESSAGE), force=True)
    return marked

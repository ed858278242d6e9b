"""Marking of dead runs as Crashed. A run is dead if its process has ended, but its state is still Running.

Two processes can detect dead runs:
    - A run that holds the lock of a folder (medtune.runtime.lock.output_lock): all other runs of the folder have ended.
    - A new worker: the runs of the earlier worker have ended with it (flows/exit_with_parent.py).

The subflow runs and task runs of a dead run are marked too. For dead scheduled runs, this module also sends the
notification (flows/hooks.py).
"""

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from uuid import UUID

from medtune.flows.hooks import notify_by_name

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

log = logging.getLogger("medtune.flow")

MESSAGE = "the process has ended"


def tag(out: str) -> str:
    """Return the tag of flow runs that hold the lock of the folder `out`."""
    return f"out:{out}"


def mark_crashed(out: str, keep: set[UUID]) -> list[str]:
    """Mark the dead flow runs of a folder as Crashed. The caller must hold the folder's lock.

    A run gets the tag of the folder only when it holds the lock, so a run that waits for the lock is not marked. If the
    server does not answer, a warning is logged.

    Args:
        out: folder that contains artifacts/.
        keep: ids of the caller's flow runs, which get the tag of the folder. These runs, their parents and their
            subflow runs are not marked.

    Returns:
        Names of the marked flow runs.
    """
    from prefect.client.orchestration import get_client

    mark = tag(out)
    try:
        with get_client(sync_client=True) as client:
            for id in keep:
                client.update_flow_run(id, tags={*client.read_flow_run(id).tags, mark})
            return _ServerRuns(client, lambda run: mark in run.tags, keep).mark_crashed(report=True)
    except Exception:  # the states of dead runs must not fail this run
        log.warning("dead runs could not be marked as crashed", exc_info=True)
        return []


def mark_crashed_of_worker(
    client: "SyncPrefectClient", claimed: Callable[["FlowRun"], bool], report: bool = True
) -> list[str]:
    """Mark unfinished runs of an earlier worker as Crashed. Call this function before the new worker starts.

    Args:
        client: client of the Prefect server.
        claimed: function that returns True for the flow runs of the earlier worker.
        report: send notifications about scheduled runs.

    Returns:
        Names of the marked flow runs.
    """
    return _ServerRuns(client, claimed, set()).mark_crashed(report)


class _ServerRuns:
    """Unfinished runs of a server, and the rule which of them are dead. Flow runs are read only once.

    Attributes:
        has_ended: function that returns True if the process of a flow run has ended.
        known: flow runs that were already read, by id.
        keep: ids of flow runs that are alive, with their subflow runs.
        ancestors: ids of the runs in `keep` and of their parents, which are alive too.
    """

    def __init__(self, client: "SyncPrefectClient", has_ended: Callable[["FlowRun"], bool], keep: set[UUID]) -> None:
        self.client = client
        self.has_ended = has_ended
        self.known: dict[UUID, FlowRun] = {}
        self.keep = keep
        self.ancestors = {run.id for id in keep for run in self._lineage(self._flow_run(id))}

    def mark_crashed(self, report: bool) -> list[str]:
        """Mark all dead runs, notify about scheduled ones if `report` is True, and return the names of flow runs."""
        self._mark_tasks()
        dead = self._mark_flows()
        for run in dead if report else ():
            if run.deployment_id and run.state:
                notify_by_name(self.client.read_flow(run.flow_id).name, run, run.state)
        return [run.name for run in dead]

    def _mark_flows(self) -> list["FlowRun"]:
        """Mark the dead flow runs as Crashed, and return them."""
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
        from prefect.client.schemas.objects import StateType
        from prefect.states import Crashed

        live = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
        unfinished = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=live)))
        dead = [run for run in self.client.read_flow_runs(flow_run_filter=unfinished) if self._is_dead(run)]
        for run in dead:
            run.state = Crashed(message=MESSAGE)
            self.client.set_flow_run_state(run.id, run.state, force=True)
        return dead

    def _mark_tasks(self) -> None:
        """Mark the task runs of dead flow runs, also of those that a worker or an automation has marked before."""
        from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterState, TaskRunFilterStateType
        from prefect.client.schemas.objects import StateType
        from prefect.states import Crashed

        live = [StateType.RUNNING, StateType.PENDING]
        unfinished = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=live)))
        for task in self.client.read_task_runs(task_run_filter=unfinished):
            if task.flow_run_id and self._is_dead(self._flow_run(task.flow_run_id)):
                self.client.set_task_run_state(task.id, Crashed(message=MESSAGE), force=True)

    def _is_dead(self, run: "FlowRun") -> bool:
        """Return True if the process of a flow run, or of one of its parents, has ended."""
        lineage = list(self._lineage(run))
        is_own = run.id in self.ancestors or any(ancestor.id in self.keep for ancestor in lineage)
        return not is_own and any(map(self.has_ended, lineage))

    def _lineage(self, run: "FlowRun") -> Iterator["FlowRun"]:
        """Yield `run`, its parent flow run, the parent of the parent, and so on."""
        while True:
            yield run
            task = self.client.read_task_run(run.parent_task_run_id) if run.parent_task_run_id else None
            if task is None or task.flow_run_id is None:
                return
            run = self._flow_run(task.flow_run_id)

    def _flow_run(self, id: UUID) -> "FlowRun":
        """Return a flow run, from the server only if it is not known yet."""
        if id not in self.known:
            self.known[id] = self.client.read_flow_run(id)
        return self.known[id]

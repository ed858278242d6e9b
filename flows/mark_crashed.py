"""Runs that Prefect still calls Running, though the process that ran them is gone, are marked as Crashed.

Two know that for certain. Whoever holds a folder's lock (medtune.runtime.lock.output_lock), which ends with its
process, knows of every other run that once held it. A worker that starts knows of the runs that its predecessor took,
since those end with it (flows/exit_with_parent.py). Subflow runs and task runs of such a run are marked with it; for
a scheduled run somebody is notified (flows/hooks.py), since it could not do that itself.
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

MESSAGE = "its process is gone"


def tag(out: str) -> str:
    """What a flow run that holds the lock of the folder `out` is tagged with."""
    return f"out:{out}"


def mark_crashed(out: str, keep: set[UUID]) -> list[str]:
    """Marks what others left unended in `out`; to be called with its lock held, not before.

    A run that waits for the lock is alive, and not tagged yet. A server that does not answer is a line in the log.

    Args:
        out: folder that holds artifacts/.
        keep: the caller's flow runs. They are tagged with the folder, so that a later sweep knows them; they, the
            runs they belong to, and those they started, stay as they are.

    Returns:
        Names of the flow runs that were marked.
    """
    from prefect.client.orchestration import get_client

    mark = tag(out)
    try:
        with get_client(sync_client=True) as client:
            for id in keep:
                client.update_flow_run(id, tags={*client.read_flow_run(id).tags, mark})
            return _ServerRuns(client, lambda run: mark in run.tags, keep).mark_crashed(report=True)
    except Exception:  # what the record says of a dead run is no reason to fail the living one
        log.warning("runs that died could not be marked", exc_info=True)
        return []


def mark_crashed_of_worker(
    client: "SyncPrefectClient", claimed: Callable[["FlowRun"], bool], report: bool = True
) -> list[str]:
    """Marks the unended runs that a worker's predecessor took; to be called before the worker takes any.

    Args:
        client: of the server.
        claimed: whether it took a run.
        report: whether it is news that the worker ended.

    Returns:
        Names of the flow runs that were marked.
    """
    return _ServerRuns(client, claimed, set()).mark_crashed(report)


class _ServerRuns:
    """The server's record; each run is asked for once."""

    def __init__(self, client: "SyncPrefectClient", gone: Callable[["FlowRun"], bool], keep: set[UUID]) -> None:
        self.client = client
        self.gone = gone
        self.known: dict[UUID, FlowRun] = {}
        self.keep = keep
        self.above = {run.id for id in keep for run in self._lineage(self._flow_run(id))}

    def mark_crashed(self, report: bool) -> list[str]:
        self._end_tasks()
        ended = self._end_flows()
        for run in ended if report else ():
            if run.deployment_id and run.state:
                notify_by_name(self.client.read_flow(run.flow_id).name, run, run.state)
        return [run.name for run in ended]

    def _end_flows(self) -> list["FlowRun"]:
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
        from prefect.client.schemas.objects import StateType
        from prefect.states import Crashed

        live = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
        asked = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=live)))
        dead = [run for run in self.client.read_flow_runs(flow_run_filter=asked) if self._is_dead(run)]
        for run in dead:
            run.state = Crashed(message=MESSAGE)
            self.client.set_flow_run_state(run.id, run.state, force=True)
        return dead

    def _end_tasks(self) -> None:
        """Those of runs that are marked already, too: a worker and an automation mark the flow run alone."""
        from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterState, TaskRunFilterStateType
        from prefect.client.schemas.objects import StateType
        from prefect.states import Crashed

        live = [StateType.RUNNING, StateType.PENDING]
        asked = TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=live)))
        for task in self.client.read_task_runs(task_run_filter=asked):
            if task.flow_run_id and self._is_dead(self._flow_run(task.flow_run_id)):
                self.client.set_task_run_state(task.id, Crashed(message=MESSAGE), force=True)

    def _is_dead(self, run: "FlowRun") -> bool:
        line = list(self._lineage(run))
        ours = run.id in self.above or any(above.id in self.keep for above in line)
        return not ours and any(map(self.gone, line))

    def _lineage(self, run: "FlowRun") -> Iterator["FlowRun"]:
        """`run`, the flow run that started it, and so on up."""
        while True:
            yield run
            task = self.client.read_task_run(run.parent_task_run_id) if run.parent_task_run_id else None
            if task is None or task.flow_run_id is None:
                return
            run = self._flow_run(task.flow_run_id)

    def _flow_run(self, id: UUID) -> "FlowRun":
        if id not in self.known:
            self.known[id] = self.client.read_flow_run(id)
        return self.known[id]

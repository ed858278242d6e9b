"""Deployments of prefect.yaml in one foreground process, without a worker (`medtune services serve`)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from medtune.config.errors import InputError
from medtune.config.project import PROJECT
from medtune.flows import environment, service_address, start_services
from medtune.runtime.console import info
from medtune.runtime.paths import RunPaths


def serve() -> None:
    """Run the deployments of prefect.yaml, on schedule and on demand, until Ctrl-C, one run at a time.

    Uses the server of $PREFECT_API_URL or `medtune services up`, or starts a temporary server. Ctrl-C marks an active
    run as Crashed, and the next run resumes it.

    Raises:
        InputError: a worker already runs these deployments.
    """
    cache = RunPaths.from_env().cache
    _, worker = service_address.service_daemons(cache)
    if worker.pid:
        raise InputError(
            f"a worker (process {worker.pid}) already runs these deployments. Stop it with `medtune services down`, or "
            "use the worker"
        )
    with start_services.report_errors(), _server(cache) as url:
        os.environ["PREFECT_API_URL"] = url
        os.chdir(PROJECT)
        os.environ.update(environment.child_environment())
        environment.configure_prefect(cache, console="INFO")
        _serve(url)


@contextmanager
def _server(cache: Path) -> Iterator[str]:
    """Yield the API address of a running server. Stop the server at the end if it was started here."""
    daemon, _ = service_address.service_daemons(cache)
    was_running = daemon.pid is not None
    try:
        yield start_services.start_server(daemon)
    finally:
        if not was_running and daemon.stop(start_services.SERVER_STOP_S):
            info("server: stopped")


def _serve(url: str) -> None:
    import asyncio

    from prefect.client.orchestration import get_client
    from prefect.exceptions import TerminationSignal
    from prefect.runner import Runner

    from medtune.flows import deployments, mark_crashed, stale_run_automation

    served = deployments.without_work_pool()
    names = {deployment.full_name for deployment in served}

    def mark_dead(report: bool) -> None:
        with get_client(sync_client=True) as client:
            flows = {flow.id: flow.name for flow in client.read_flows()}
            ids = {known.id for known in client.read_deployments() if f"{flows[known.flow_id]}/{known.name}" in names}
            for name in mark_crashed.mark_crashed_of_worker(client, lambda run: run.deployment_id in ids, report):
                info(f"{name}: crashed, {mark_crashed.MESSAGE}")

    stale_run_automation.ensure_automations()
    mark_dead(report=True)
    info(f"dashboard: {url.removesuffix('/api')}")
    runner = Runner(limit=1, pause_on_shutdown=False)
    for deployment in served:  # `prefect.serve` does not report when the deployments are registered
        runner.add_deployment(deployment)
    for name in sorted(names):
        info(f"serving:   {name}")
    try:
        with suppress(KeyboardInterrupt, TerminationSignal):
            asyncio.run(runner.start())
    finally:
        mark_dead(report=False)

"""The deployments of prefect.yaml from one process in the foreground, without a worker: `medtune services serve`."""

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
    """Run the deployments of prefect.yaml, on schedule and on demand, until Ctrl-C; one run at a time.

    Uses the server that $PREFECT_API_URL names or `medtune services up` started; without one, it starts one for as long
    as this runs. A run that is under way at Ctrl-C ends as crashed, and the next one resumes it.
    """
    cache = RunPaths.from_env().cache
    _, worker = service_address.service_daemons(cache)
    if worker.pid:
        raise InputError(
            f"a worker (process {worker.pid}) takes the runs of these deployments already: "
            "stop it with `medtune services down`, or leave it to it"
        )
    with start_services.report_errors(), _server(cache) as url:
        os.environ["PREFECT_API_URL"] = url
        os.chdir(PROJECT)
        os.environ.update(environment.child_environment())
        environment.configure_prefect(cache, console="INFO")
        _serve(url)


@contextmanager
def _server(cache: Path) -> Iterator[str]:
    """API address of a server that answers."""
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

    made = deployments.without_work_pool()
    names = {deployment.full_name for deployment in made}

    def mark_dead(tell: bool) -> None:
        with get_client(sync_client=True) as client:
            flows = {flow.id: flow.name for flow in client.read_flows()}
            ids = {known.id for known in client.read_deployments() if f"{flows[known.flow_id]}/{known.name}" in names}
            for name in mark_crashed.mark_crashed_of_worker(client, lambda run: run.deployment_id in ids, tell):
                info(f"{name}: crashed, {mark_crashed.MESSAGE}")

    stale_run_automation.ensure_automations()
    mark_dead(tell=True)
    info(f"dashboard: {url.removesuffix('/api')}")
    runner = Runner(limit=1, pause_on_shutdown=False)
    for deployment in made:  # `prefect.serve` registers them, too, but does not say when it has
        runner.add_deployment(deployment)
    for name in sorted(names):
        info(f"serving:   {name}")
    try:
        with suppress(KeyboardInterrupt, TerminationSignal):
            asyncio.run(runner.start())
    finally:
        mark_dead(tell=False)

"""A Dask cluster of processes with the commands of Dask."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.pipeline.conftest import Checkout


@contextmanager
def dask_cluster(checkout: "Checkout", folder: Path) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """Start a scheduler and two workers in a checkout, and end them after the block.

    Args:
        checkout: the checkout.
        folder: folder for the logs.

    Yields:
        The address of the scheduler, and the workers.
    """
    scheduler_file = folder / "scheduler.json"
    environment = {**checkout.environment(), "PYTHONPATH": str(checkout.folder)}
    dask = str(Path(sys.executable).parent / "dask")

    def start(*arguments: str) -> "subprocess.Popen[bytes]":
        with (folder / f"{arguments[0]}.log").open("ab") as log:
            command = [dask, *arguments, "--scheduler-file", str(scheduler_file), "--no-dashboard"]
            return subprocess.Popen(command, cwd=checkout.folder, env=environment, stdout=log, stderr=log)

    processes = [start("scheduler", "--port", "0", "--host", "127.0.0.1")]
    try:
        while not scheduler_file.is_file():
            assert processes[0].poll() is None, (folder / "scheduler.log").read_text()
            time.sleep(0.1)
        workers = [start("worker", "--nthreads", "1", "--no-nanny") for _ in range(2)]
        processes += workers
        address = re.search(r'"address": "(tcp://[\d.:]+)"', scheduler_file.read_text())
        assert address is not None
        yield address[1], workers
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()

"""The checks of `medtune doctor`: can this machine do the run that params.yaml describes?"""

from collections.abc import Callable, Iterator

from medtune.doctor import (
    checkout,
    data,
    device,
    estimate,
    folders,
    machine,
    packages,
    prefect_server,
    stores,
    tracking,
    weights,
)
from medtune.doctor.result import Finding, Job, wrong
from medtune.serving.one_line import first_line

# The order matters: a check adds to `job.facts` (images, weights, time, disk) what later checks use.
CHECKS: dict[str, Callable[[Job], Finding | list[Finding]]] = {
    "python": packages.python,
    "packages": packages.packages,
    "device": device.device,
    "threads": machine.threads,
    "git": checkout.git,
    "lock": checkout.lock,
    "data": data.data,
    "weights": weights.weights,
    "hub": weights.hub,
    "estimate": estimate.estimate,
    "memory": machine.memory,
    "disk": folders.disk,
    "write": folders.write,
    "DVC remote": stores.remote,
    "W&B": tracking.wandb,
    "Prefect": prefect_server.prefect,
    "clock": checkout.clock,
}


def examine(job: Job) -> Iterator[Finding]:
    """Every check's lines, as they come; a check that fails itself is a line that says so."""
    for label, check in CHECKS.items():
        try:
            found = check(job)
        except Exception as error:  # a broken check must not hide what the others find
            found = wrong(
                f"this check itself failed: {first_line(error, with_type=True)}", f"look at {check.__module__}"
            )
        for finding in found if isinstance(found, list) else [found]:
            yield Finding(finding.state, finding.found, finding.todo, finding.label or label)

"""Table of the checks of `medtune doctor`."""

from collections.abc import Callable, Iterator

from medtune.doctor import (
    checkout,
    data,
    device,
    dvc_remote,
    estimate,
    folders,
    machine,
    network,
    packages,
    prefect_server,
    tracking,
    volume_estimate,
    weights,
)
from medtune.doctor.check_result import CheckResult, Context, failure
from medtune.serving.one_line import first_line


def check_estimate(context: Context) -> list[CheckResult]:
    """Estimate disk space and time of a run with images or with volumes."""
    if context.params.data.has_volumes:
        return volume_estimate.check_estimate(context)
    return estimate.check_estimate(context)


# The order matters, because checks add facts to the context for later checks, for example the number of images.
CHECKS: dict[str, Callable[[Context], CheckResult | list[CheckResult]]] = {
    "python": packages.check_python,
    "packages": packages.check_packages,
    "device": device.check_device,
    "threads": machine.check_threads,
    "git": checkout.check_git,
    "lock": checkout.check_lock,
    "data": data.check_data,
    "weights": weights.check_weights,
    "hub": weights.check_hub,
    "network": network.check_network,
    "estimate": check_estimate,
    "memory": machine.check_memory,
    "disk": folders.check_disk,
    "write": folders.check_write,
    "DVC remote": dvc_remote.check_remote,
    "W&B": tracking.check_wandb,
    "Prefect": prefect_server.check_prefect,
    "clock": checkout.check_clock,
}


def run_checks(context: Context) -> Iterator[CheckResult]:
    """Yield the results of all checks. An exception in a check becomes a result."""
    try:
        for label, check in CHECKS.items():
            try:
                results = check(context)
            except Exception as error:  # a broken check must not stop the others
                results = failure(
                    f"the check itself failed: {first_line(error, with_type=True)}", f"look at {check.__module__}"
                )
            for result in results if isinstance(results, list) else [results]:
                yield CheckResult(result.state, result.message, result.fix, result.label or label)
    finally:
        context.questions.close()

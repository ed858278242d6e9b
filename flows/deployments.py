"""Deployments of prefect.yaml for `medtune services serve`. `prefect deploy` reads the same file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from medtune.config.project import PROJECT

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

FILE = PROJECT / "prefect.yaml"


def read_deployments(file: Path = FILE) -> list[dict[str, Any]]:
    """Return the list `deployments` of prefect.yaml."""
    return list(YAML(typ="safe", pure=True).load(file)["deployments"])


def without_work_pool(file: Path = FILE) -> list["RunnerDeployment"]:
    """Return the deployments without a work pool, to be run by the process that serves them."""
    from prefect.deployments.runner import RunnerDeployment
    from prefect.schedules import Cron

    deployments = []
    for entry in read_deployments(file):
        schedules = [Cron(item["cron"], timezone=item["timezone"], slug=item["slug"]) for item in entry["schedules"]]
        deployment = RunnerDeployment.from_entrypoint(
            entry["entrypoint"],
            entry["name"],
            schedules=schedules,
            parameters=entry.get("parameters"),
            description=entry["description"],
            tags=entry["tags"],
        )
        deployments.append(deployment)
    return deployments

"""The deployments of prefect.yaml, for `medtune services serve`; `prefect deploy` reads the same file itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from medtune.config.project import PROJECT

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

FILE = PROJECT / "prefect.yaml"


def read_deployments(file: Path = FILE) -> list[dict[str, Any]]:
    """Every entry under `deployments`, as it stands there."""
    return YAML(typ="safe", pure=True).load(file)["deployments"]


def without_work_pool(file: Path = FILE) -> list["RunnerDeployment"]:
    """The same without a work pool: whoever serves them runs them."""
    from prefect.deployments.runner import RunnerDeployment
    from prefect.schedules import Cron

    made = []
    for entry in read_deployments(file):
        schedules = [Cron(each["cron"], timezone=each["timezone"], slug=each["slug"]) for each in entry["schedules"]]
        deployment = RunnerDeployment.from_entrypoint(
            entry["entrypoint"],
            entry["name"],
            schedules=schedules,
            parameters=entry.get("parameters"),
            description=entry["description"],
            tags=entry["tags"],
        )
        made.append(deployment)
    return made

"""When a task is a hit. The truth is the finished artifact on disk; Prefect's record of it follows."""

from pathlib import Path
from typing import Any

from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext

from medtune.runtime.artifact import digest


class CacheByKey(CachePolicy):
    """Hits exactly where the task's `cache_key` input was seen before.

    Prefect's own policies are of no use here: DEFAULT holds the run id and never hits across runs,
    INPUTS + TASK_SOURCE hits after an imported file was edited or the output deleted.
    """

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        """The task's own key, as its caller made it."""
        return inputs["cache_key"]


def prefect_key(key: str, folder: Path) -> str:
    """The name under which Prefect stores a step's result: its key and its place, since the result names the place."""
    return digest([key, str(folder)])

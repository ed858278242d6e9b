"""Cache policy of Prefect tasks, which follows the finished artifacts on disk."""

from pathlib import Path
from typing import Any

from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext

from medtune.runtime.artifact import digest


class CacheByKey(CachePolicy):
    """Cache policy that uses the task's input `cache_key` as the key.

    Prefect's policies are unsuitable. DEFAULT includes the run id, so it never hits across runs. INPUTS + TASK_SOURCE
    hits even if an imported file was edited or the output was deleted.
    """

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        """Return the cache key that the caller passed to the task."""
        return str(inputs["cache_key"])


def prefect_key(key: str, folder: Path) -> str:
    """Return Prefect's cache key of a step. It includes the folder, because the result contains the folder's path."""
    return digest([key, str(folder)])

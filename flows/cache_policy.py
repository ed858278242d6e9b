"""Cache policy of Prefect tasks: a task counts as finished if MedTune's artifact on disk is finished."""

from pathlib import Path
from typing import Any

from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext

from medtune.runtime.artifact import digest


class CacheByKey(CachePolicy):
    """Cache policy that uses the task's input `cache_key` as the key.

    Prefect's own policies are unsuitable. `DEFAULT` includes the run id, so no later run finds the result.
    `INPUTS + TASK_SOURCE` finds an outdated result after an imported file was edited or the output was deleted.
    """

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        """Return the cache key that the caller passed to the task."""
        return str(inputs["cache_key"])


def prefect_key(key: str, folder: Path) -> str:
    """Return Prefect's cache key of a step.

    Args:
        key: MedTune's cache key of the step.
        folder: folder of the artifact. It is part of the key, because the result of the task contains its path.
    """
    return digest([key, str(folder)])

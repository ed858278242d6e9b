"""Outputs of trained networks in stage evaluate, from the cache or computed now."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtune.config.schema import Params
from medtune.evaluation.outputs import OutputsRequest, cache_outputs, load_outputs
from medtune.runtime.device import device_name
from medtune.runtime.progress import progress

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset


def network_outputs(
    task: Any, requests: Sequence[OutputsRequest], prepared: "PreparedDataset", params: Params, cache: Path
) -> list[Any]:
    """Return the outputs of trained networks.

    Args:
        task: evaluation module of the task (`medtune.tasks.base.Evaluation`).
        requests: the networks, each with the indices of its images.
        prepared: the prepared data.
        params: all params.
        cache: folder of the cache.

    Returns:
        Outputs in the order of `requests`: logits, or the result of `compute_outputs` of the task.
    """
    if compute := getattr(task, "compute_outputs", None):
        computed_by_task: list[Any] = compute(requests, prepared, params, device_name(), cache)
        return computed_by_task
    outputs = {request.fold: load_outputs(request, cache) for request in requests}
    missing = [request for request in requests if outputs[request.fold] is None]
    if missing:
        from medtune.training.trained_outputs import backbone_runs, compute_trained_outputs

        device = device_name()
        with progress(f"evaluate: outputs on {device}", backbone_runs(missing), "images") as advance:
            computed = compute_trained_outputs(missing, prepared.images, device, params.evaluate.batch_size, advance)
            for request, output in zip(missing, computed, strict=True):
                outputs[request.fold] = output
                cache_outputs(request, output, cache)
    return [output for output in outputs.values() if output is not None]

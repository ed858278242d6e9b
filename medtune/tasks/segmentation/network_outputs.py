"""Label maps of trained networks for prepared volumes, from the cache or predicted now."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from medtune.config.errors import RunError
from medtune.config.schema import Params as AllParams
from medtune.data.wording import wording
from medtune.evaluation.outputs import EXTERNAL, OutputsRequest
from medtune.runtime.artifact import Artifact, digest
from medtune.runtime.progress import progress
from medtune.runtime.source_hash import source_fingerprint
from medtune.serving.members import REFIT, network_name
from medtune.serving.volumes.network_features import FeatureSums
from medtune.serving.volumes.pipeline import Segmentation
from medtune.serving.volumes.windows import Patch
from medtune.tasks.segmentation import Params
from medtune.tasks.segmentation.inference import mean_run, segment_volume, torch_run
from medtune.tasks.segmentation.outputs import (
    SegmentedVolumes,
    case_cache,
    load_segmentation,
    segmentation_path,
    store_segmentation,
)
from medtune.tasks.segmentation.windowed import count_windows
from medtune.training.checkpoint import load_trained

if TYPE_CHECKING:
    from medtune.data.manifest import PreparedDataset

# Windows per forward pass. A GPU needs several for a good utilization, a CPU does not.
WINDOWS_ON_GPU = 4


@dataclass(frozen=True)
class _Job:
    """Volumes that one network, or the mean of several networks, predicts.

    Attributes:
        key: cache key of the label maps.
        networks: artifacts of the networks.
        name: name of the networks for messages.
        rows: rows of the volumes.
    """

    key: str
    networks: tuple[Artifact, ...]
    name: str
    rows: tuple[int, ...]


def compute_outputs(
    requests: Sequence[OutputsRequest], prepared: "PreparedDataset", params: AllParams, device: str, cache: Path
) -> list[dict[str, SegmentedVolumes]]:
    """Predict the volumes of each request and store their label maps in the cache.

    A network predicts its validation and test volumes. The external volumes are predicted by the exported model, which
    is the mean of all networks, or the network that was trained on all volumes.

    Args:
        requests: one per trained network.
        prepared: prepared dataset.
        params: all params.
        device: torch device.
        cache: folder of the cache.

    Returns:
        Label maps by split, in the order of `requests`.

    Raises:
        RunError: a network returns NaN or infinity, or an artifact is damaged.
    """
    options = params.task
    assert isinstance(options, Params)
    exported = [request for request in requests if request.fold == REFIT] or requests
    all_jobs = [_jobs(request, exported, prepared, options, device) for request in requests]
    unique = {job.key: job for jobs in all_jobs for job in jobs.values()}
    rows: dict[str, set[int]] = {key: set() for key in unique}
    for jobs in all_jobs:
        for job in jobs.values():
            rows[job.key] |= set(job.rows)
    loaders = {key: _loaders(prepared, cache, key, sorted(found)) for key, found in rows.items()}
    missing = {key: [row for row, load in by_row.items() if load() is None] for key, by_row in loaders.items()}
    _predict_missing(unique, missing, prepared, options, device, cache)
    cases = case_cache(cache)
    return [
        {
            split: SegmentedVolumes([partial(_loaded, loaders[job.key][row], job) for row in job.rows], options, cases)
            for split, job in jobs.items()
        }
        for jobs in all_jobs
    ]


def _jobs(
    request: OutputsRequest,
    exported: Sequence[OutputsRequest],
    prepared: "PreparedDataset",
    options: Params,
    device: str,
) -> dict[str, _Job]:
    """Return the volumes of each split and the networks that predict them."""
    jobs = {}
    for split, indices in request.indices.items():
        several = exported if split == EXTERNAL else [request]
        networks = tuple(member.trained for member in several)
        name = network_name(request.fold) if len(networks) == 1 else "ensemble"
        jobs[split] = _Job(
            _key(networks, prepared, options, device), networks, name, tuple(int(row) for row in indices)
        )
    return jobs


def _key(networks: Sequence[Artifact], prepared: "PreparedDataset", options: Params, device: str) -> str:
    """Return the cache key of label maps. It does not depend on post-processing, metrics or temperature."""
    source = source_fingerprint("medtune.tasks.segmentation.network_outputs")
    members = [[artifact.key, artifact.sha256] for artifact in networks]
    settings = [options.overlap, list(options.views)]
    return digest(["label maps", members, prepared.digest, settings, source, device.partition(":")[0]])


def _loaders(
    prepared: "PreparedDataset", cache: Path, key: str, rows: Sequence[int]
) -> dict[int, Callable[[], Segmentation | None]]:
    return {
        row: partial(
            load_segmentation,
            segmentation_path(cache, key, row),
            prepared.volumes.entries[row].original_shape,
            len(prepared.classes),
        )
        for row in rows
    }


def _loaded(load: Callable[[], Segmentation | None], job: _Job) -> Segmentation:
    segmentation = load()
    if segmentation is None:
        raise RunError(f"{job.name}: a stored label map was changed while it was used. Run again to compute it")
    return segmentation


def _predict_missing(
    jobs: dict[str, _Job],
    missing: dict[str, list[int]],
    prepared: "PreparedDataset",
    options: Params,
    device: str,
    cache: Path,
) -> None:
    """Predict and store all label maps that the cache lacks."""
    entries, patch = prepared.volumes.entries, _patch(prepared)
    windows = sum(
        count_windows(entries[row].shape, patch, options.overlap) for rows in missing.values() for row in rows
    )
    if not windows:
        return
    batch = 1 if device == "cpu" else WINDOWS_ON_GPU
    with progress(f"evaluate: label maps on {device}", windows, "windows") as advance:
        for key, rows in missing.items():
            if not rows:
                continue
            job = jobs[key]
            features = [FeatureSums() for _ in job.networks]
            networks = zip(job.networks, features, strict=True)
            run = mean_run([torch_run(load_trained(artifact), device, sums) for artifact, sums in networks])
            for row in rows:
                done = 0

                def on_progress(finished: int, _: int) -> None:
                    nonlocal done
                    advance(finished - done)
                    done = finished

                try:
                    found = segment_volume(
                        prepared, row, run, patch, options.overlap, batch, on_progress, options.views, features
                    )
                except ValueError as error:
                    raise RunError(
                        f"{job.name}: {wording(prepared.info).item} {prepared.paths[row]}: {error}. If the training "
                        "diverged, lower the learning rate"
                    ) from None
                store_segmentation(segmentation_path(cache, key, row), found)


def _patch(prepared: "PreparedDataset") -> Patch:
    x, y, z = prepared.info["volumes"]["patch"]
    return x, y, z

"""Check of volumes: list them, read some of them, and choose the spacing and the patch as the run would do.

A patch is the part of a volume that the network processes at once. In prediction, it is called a window.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import ModuleType

import numpy as np

from medtune.config.errors import InputError
from medtune.config.schema import Params
from medtune.data.sample import Sample
from medtune.data.target_spacing import median_shape, target_spacing
from medtune.data.volume_params import VolumeParams
from medtune.data.volume_preparation import default_patch
from medtune.data.volume_reading import check_headers, read_labeled
from medtune.data.wording import wording_of_params
from medtune.doctor.check_result import CheckResult, Context, failure, format_duration, ok, warning
from medtune.serving.one_line import first_line
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.geometry import format_shape
from medtune.serving.volumes.windows import window_starts

N_READ = 4  # number of volumes that are read
# Time of stage data per volume, as a multiple of one reading: two readings, and resampling.
READS = 3


@dataclass(frozen=True)
class VolumeSizes:
    """Sizes of a data set of volumes, measured on some of them.

    Attributes:
        channels: number of channels.
        classes: number of labels including the background.
        voxels: median number of voxels of a file.
        shape: median number of voxels per axis after resampling.
        patch: size of a patch in voxels per axis.
        windows: number of windows that cover a volume of median size.
    """

    channels: int
    classes: int
    voxels: int
    shape: tuple[int, int, int]
    patch: tuple[int, int, int]
    windows: int

    @property
    def stored_bytes(self) -> int:
        """Bytes of a volume of median size in data/prepared: float16 values and two masks."""
        return prod(self.shape) * (2 * self.channels + 1) + self.voxels


def check_volumes(context: Context, source: ModuleType, samples: Sequence[Sample], root: Path | None) -> CheckResult:
    """Read some volumes. Record the facts `images` (number of volumes), `decode_s` (seconds) and `volumes` (sizes).

    Args:
        context: the planned run.
        source: module of the data source.
        samples: all volumes of the source.
        root: folder of the data; None for a source that draws its volumes.

    Returns:
        The number of volumes, the labels, the patch and the time to read all volumes.
    """
    params = context.params.data
    assert isinstance(params, VolumeParams)  # the caller has checked `has_volumes`
    channels, labels = source.channels(params), source.classes(params)
    shapes, spacings, seconds, bad = [], [], [], []
    words = wording_of_params(params)
    for sample in samples[:: max(1, len(samples) // N_READ)][:N_READ]:
        assert sample.volume is not None
        begin = time.perf_counter()
        try:
            check_headers(sample.volume, len(channels))
            volume = read_labeled(sample.volume, len(channels), len(labels))
        except DecodeError as error:
            bad.append(str(error))
            continue
        seconds.append(time.perf_counter() - begin)
        shapes.append(volume.mask.shape)
        spacings.append(volume.spacing)
    where = f" in {root}" if root is not None and samples[0].volume is not None and samples[0].volume.files else ""
    summary = f"{len(samples):,} {words.items}{where} (data.source={params.source}), labels {', '.join(labels)}"
    context.facts["images"] = len(samples)
    if bad:
        fix = "fix or remove them, or set data.on_bad_image=reject"
        result = warning if params.on_bad_image == "reject" and shapes else failure
        return result(
            f"{summary}; {len(bad)} of {len(bad) + len(shapes)} sampled {words.items} are unusable: {bad[0]}", fix
        )
    try:
        spacing = params.spacing or target_spacing(spacings)
        shape = median_shape(shapes, spacings, spacing)
    except (InputError, DecodeError) as error:
        return failure(f"{summary}: {first_line(error)}", "set a larger data.spacing")
    patch = params.patch or default_patch(spacing, shape, params.is_planar)
    overlap: float = context.params.task.overlap  # type: ignore[attr-defined]
    sides = zip(shape, patch, strict=True)
    counts: list[int] = [len(window_starts(max(length, side), side, overlap)) for length, side in sides]
    windows = prod(counts)
    voxels = int(np.median([prod(size) for size in shapes]))
    context.facts["decode_s"] = READS * statistics.median(seconds)
    context.facts["volumes"] = VolumeSizes(len(channels), len(labels) + 1, voxels, shape, patch, windows)
    total = format_duration(statistics.median(seconds) * len(samples))
    return ok(
        f"{summary}; {len(shapes)} read, reading all takes {total} on one core; patch "
        f"{format_shape(patch[: words.n_axes])} {words.points}, {windows:,} windows per {words.item}"
    )


def with_patch(context: Context) -> Params:
    """Return the params of the run. If `check_volumes` has chosen a patch, the params contain it."""
    params, sizes = context.params, context.facts.get("volumes")
    if sizes is None:
        return params
    return params.model_copy(update={"data": params.data.model_copy(update={"patch": sizes.patch})})

"""Stored metrics of label maps. A second evaluation with other report settings reads them.

The name of an entry is the digest of everything that the metrics depend on: label map, post-processing, truth, spacing,
labels, tolerance and source code. A damaged entry is computed again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medtune.runtime.artifact import atomic_write, digest
from medtune.runtime.source_hash import source_fingerprint
from medtune.serving.checksum import add_bytes_checksum, strip_bytes_checksum
from medtune.serving.volumes.pipeline import PostProcessing
from medtune.tasks.segmentation.case_metrics import LabelMetrics, case_metrics

_VALUES = len(fields(LabelMetrics)) - 1  # without the name of the label


class CaseCache:
    """Metrics of label maps, computed at most once.

    Attributes:
        computed: number of label maps whose metrics were not in the cache and had to be computed.
    """

    def __init__(self, folder: Path | None) -> None:
        """Open the cache.

        Args:
            folder: folder of the entries, created if needed; None to compute all metrics.
        """
        self._folder, self.computed = folder, 0

    def metrics(
        self,
        truth: npt.NDArray[np.uint8],
        predicted: npt.NDArray[np.uint8],
        post_processing: PostProcessing,
        spacing: Sequence[float],
        labels: Mapping[str, int],
        tolerance: float | Mapping[str, float] = 1.0,
        distances: bool = True,
    ) -> tuple[LabelMetrics, ...]:
        """Return the metrics of a label map after post-processing.

        Args:
            truth: (X, Y, Z) true mask.
            predicted: (X, Y, Z) predicted label map before post-processing.
            post_processing: removal of components from `predicted`.
            spacing: (3,) distance between voxel centers in mm.
            labels: value of each label in the masks, by name.
            tolerance: tolerance of the normalized surface distance in mm, or one per label.
            distances: False to skip the surface distances.

        Returns:
            The result of `case_metrics`.
        """
        path = None
        if self._folder is not None:
            rule = [post_processing.document(), [float(mm) for mm in spacing], dict(labels), distances]
            limits = dict(tolerance) if isinstance(tolerance, Mapping) else tolerance
            key = digest(["case metrics", _sha256(truth), _sha256(predicted), rule, limits, _source()])
            path = self._folder / key[:2] / f"{key}.json"
            if (stored := _read(path, tuple(labels))) is not None:
                return stored
        mask = post_processing.apply(predicted, len(labels), spacing)
        cases = case_metrics(truth, mask, spacing, labels, tolerance, distances)
        self.computed += 1
        if path is not None:
            content = json.dumps([astuple(case) for case in cases]).encode()
            with atomic_write(path) as temporary:
                temporary.write_bytes(add_bytes_checksum(content))
        return cases


def _read(path: Path, labels: tuple[str, ...]) -> tuple[LabelMetrics, ...] | None:
    """Read an entry; None if it is missing or damaged."""
    try:
        rows = json.loads(strip_bytes_checksum(path.read_bytes()))
        cases = tuple(LabelMetrics(name, *map(float, values)) for name, *values in rows if len(values) == _VALUES)
    except (OSError, ValueError, TypeError):
        return None
    return cases if tuple(case.label for case in cases) == labels else None


@cache
def _source() -> Any:
    """Return the fingerprint of the code that computes the metrics."""
    return source_fingerprint("medtune.tasks.segmentation.case_metrics", "medtune.serving.volumes.pipeline")


def _sha256(array: npt.NDArray[Any]) -> str:
    digest_of = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest_of.update(np.ascontiguousarray(array).data)
    return digest_of.hexdigest()

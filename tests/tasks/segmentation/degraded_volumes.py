"""Label maps that differ from the truth, as outputs of networks."""

from functools import partial

import numpy as np

from medtune.serving.volumes.pipeline import Segmentation
from medtune.tasks import base
from medtune.tasks.segmentation import Params
from medtune.tasks.segmentation.outputs import SegmentedVolumes

METRICS = base.metrics("segmentation")
LABELS = {"upper organ": 1, "lower organ": 2, "lesion": 3}


def degraded(prepared, row: int) -> Segmentation:
    """Return the truth shifted by up to one voxel, with a distant component of the first label in each patient."""
    draw = np.random.default_rng(row)
    truth = np.asarray(prepared.volumes.truth(row))
    shift = draw.integers(0, 2, 3)
    mask = np.roll(truth, shift, (0, 1, 2))
    mask[0, 0, :2] = 1
    present = [bool((mask == value).any()) for value in LABELS.values()]
    doubt = 0.05 + 0.1 * shift.sum() + 0.01 * draw.random()
    return Segmentation(mask, tuple(doubt if found else np.nan for found in present))


def outputs_of(prepared, requests, options: Params, output=degraded):
    return [
        {
            split: SegmentedVolumes([partial(output, prepared, row) for row in rows.tolist()], options)
            for split, rows in request.indices.items()
        }
        for request in requests
    ]

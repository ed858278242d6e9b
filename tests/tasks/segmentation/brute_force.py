"""Segmentation metrics from their definitions, with loops over all pairs of voxels."""

import math
from itertools import product

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

# Multiples of 0.1 and 0.25 mm: no distance is so close to a tolerance that rounding decides.
SPACING = st.tuples(*[st.integers(3, 50).map(lambda tenths: tenths / 10)] * 3)
TOLERANCE = st.integers(0, 24).map(lambda quarters: quarters / 4)


@st.composite
def mask_pairs(draw):
    """Draw two masks (X, Y, Z) of up to 5 voxels per axis, which may be empty, flat or at the border."""
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    return tuple(draw(arrays.arrays(np.uint8, shape, elements=st.integers(0, 1))) for _ in range(2))


def voxels(mask):
    return {tuple(int(position) for position in index) for index in np.argwhere(mask)}


def surface(mask):
    """Return the voxels with a face neighbor outside the mask; axes with one voxel have no neighbors."""
    inside = voxels(mask)
    steps = [tuple(sign * (axis == k) for k in range(3)) for axis in range(3) for sign in (-1, 1)]
    flat = [size == 1 for size in mask.shape]
    if not all(flat):
        steps = [step for step in steps if not any(step[k] and flat[k] for k in range(3))]
    return [p for p in inside if any((p[0] + d[0], p[1] + d[1], p[2] + d[2]) not in inside for d in steps)]


def nearest(points, others, spacing):
    """Return the distance of each point to the nearest of the others in mm."""
    points, others = ([tuple(i * mm for i, mm in zip(p, spacing, strict=True)) for p in q] for q in (points, others))
    return [min(math.dist(point, other) for other in others) for point in points]


def percentile95(values):
    ordered = sorted(values)
    position = 0.95 * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])


def metrics(truth, prediction, spacing, tolerance):
    """Return the metrics by name, NaN where undefined."""
    actual, predicted = voxels(truth), voxels(prediction)
    voxel = math.prod(spacing) / 1000
    result = {
        "truth_ml": len(actual) * voxel,
        "prediction_ml": len(predicted) * voxel,
        "volume_error": (len(predicted) - len(actual)) * voxel,
        "volume_error_percent": 100 * (len(predicted) / len(actual) - 1) if actual else math.nan,
        "sensitivity": len(actual & predicted) / len(actual) if actual else math.nan,
        "precision": len(actual & predicted) / len(predicted) if predicted else math.nan,
    }
    if not actual and not predicted:
        return result | {"dice": 1.0, "nsd": 1.0, "hd95": math.nan}
    if not actual or not predicted:
        return result | {"dice": 0.0, "nsd": 0.0, "hd95": math.hypot(*np.multiply(truth.shape, spacing))}
    surfaces = surface(truth), surface(prediction)
    there, back = nearest(*surfaces, spacing), nearest(*surfaces[::-1], spacing)
    close = [distance <= tolerance + 1e-6 for distance in there + back]
    return result | {
        "dice": 2 * len(actual & predicted) / (len(actual) + len(predicted)),
        "nsd": sum(close) / len(close),
        "hd95": max(percentile95(there), percentile95(back)),
    }


def all_masks(shape):
    """Yield every mask of a shape."""
    for bits in product((0, 1), repeat=math.prod(shape)):
        yield np.array(bits, np.uint8).reshape(shape)

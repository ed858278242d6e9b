"""Spacing and patch size of a data set of volumes, computed from its training volumes.

The rules follow nnU-Net (Isensee et al., Nature Methods 18:203, 2021), with one exception in `target_spacing`.
"""

import math
from collections.abc import Sequence

import numpy as np

from medtune.config.errors import InputError
from medtune.serving.volumes.resampling import THICK_RATIO, Shape, Spacing, resampled_shape

# Voxels of the cube in mm from which the patch of a volume is reduced.
_FIRST_VOXELS = 256**3
_THICK_PERCENTILE = 10.0


def target_spacing(spacings: Sequence[Sequence[float]]) -> Spacing:
    """Return the spacing to which all volumes are resampled.

    The spacing of an axis is the median of the training volumes, except for an axis of thick slices. An axis has thick
    slices if its median exceeds `THICK_RATIO` times the larger median of the other two axes. The spacing of this axis
    is the 10th percentile, but at least that larger median. With its median, half of the volumes would lose some of
    their few slices. Unlike nnU-Net, this function does not require that the axis has few voxels.

    Args:
        spacings: spacing in mm of each training volume, (N, 3), in RAS orientation.

    Returns:
        Spacing in mm.

    Raises:
        InputError: there is no volume, or a spacing is not a positive number.
    """
    values = np.asarray(spacings, np.float64)
    if values.ndim != 2 or values.shape[1] != 3 or not len(values) or not ((values > 0) & np.isfinite(values)).all():
        raise InputError(
            "data.spacing=null: the spacing of a training volume is missing or not positive. Set data.spacing"
        )
    target = np.median(values, axis=0)
    thick = int(target.argmax())
    others = float(np.delete(target, thick).max())
    if target[thick] > THICK_RATIO * others:
        target[thick] = max(others, np.percentile(values[:, thick], _THICK_PERCENTILE))
    x, y, z = target.tolist()
    return x, y, z


def median_shape(shapes: Sequence[Sequence[int]], spacings: Sequence[Sequence[float]], target: Spacing) -> Shape:
    """Return the median number of voxels per axis after resampling.

    Args:
        shapes: voxels per axis of each training volume, (N, 3), in RAS orientation.
        spacings: spacing in mm of each training volume, (N, 3).
        target: spacing after resampling in mm.

    Returns:
        Rounded median of each axis.

    Raises:
        DecodeError: a volume would exceed the size limit after resampling.
    """
    resampled = [resampled_shape(shape, spacing, target) for shape, spacing in zip(shapes, spacings, strict=True)]
    x, y, z = np.rint(np.median(resampled, axis=0)).astype(int).tolist()
    return x, y, z


def patch_size(spacing: Spacing, shape: Shape, strides: Shape, max_voxels: int) -> Shape:
    """Return the size of a patch.

    The patch begins as a cube: equal sides in mm. For images, it begins as a square of about `max_voxels` pixels. Each
    side is limited to the median shape, and then rounded up to a multiple of its stride. While the patch has more than
    `max_voxels` voxels, its longest side relative to the median shape shrinks by one stride.

    Args:
        spacing: spacing of the resampled volumes in mm.
        shape: median shape of the resampled volumes, from `median_shape`.
        strides: product of all strides of the network along each axis, which must divide the patch. The last one is 1
            for images.
        max_voxels: maximum number of voxels of a patch.

    Returns:
        Voxels per axis, multiples of `strides`.

    Raises:
        InputError: even the smallest patch has more than `max_voxels` voxels.
    """
    if math.prod(strides) > max_voxels:
        raise InputError(
            f"data.patch=null: the network needs patches of at least {' x '.join(map(str, strides))} voxels, more than "
            f"{max_voxels:,} in total. Set data.patch"
        )
    if strides[2] == shape[2] == 1:
        side_mm = math.sqrt(max_voxels * spacing[0] * spacing[1])
    else:
        side_mm = (max(_FIRST_VOXELS, max_voxels) * math.prod(spacing)) ** (1 / 3)
    patch = [
        stride * math.ceil(min(round(side_mm / mm), length) / stride) or stride
        for mm, length, stride in zip(spacing, shape, strides, strict=True)
    ]
    while math.prod(patch) > max_voxels:
        shrinkable = [axis for axis in range(3) if patch[axis] > strides[axis]]
        axis = max(shrinkable, key=lambda axis: patch[axis] / shape[axis])
        patch[axis] -= strides[axis]
    x, y, z = patch
    return x, y, z

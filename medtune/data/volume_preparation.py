"""Spacing, normalization and patch of a data set of volumes, from the params or from its training volumes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from medtune.config.errors import InputError
from medtune.data.target_spacing import median_shape, patch_size, target_spacing
from medtune.data.volume_inspection import VolumeFacts, outside
from medtune.data.volume_intensity import check_scale, fit_foreground
from medtune.data.volume_params import VolumeParams
from medtune.data.volume_reading import LabeledVolume
from medtune.data.wording import wording_of_params
from medtune.runtime.progress import progress
from medtune.serving.pixels import DecodeError
from medtune.serving.volumes.pipeline import Preparation
from medtune.serving.volumes.resampling import Shape, Spacing, resampled_shape
from medtune.serving.volumes.volume_intensity import VolumeIntensity

# Most networks need patches whose sides are multiples of STRIDES. Larger patches than MAX_PATCH_VOXELS take too long on
# a CPU.
STRIDES = (8, 8, 8)
MAX_PATCH_VOXELS = 64**3
# The same limits for images, which have one slice.
PLANAR_STRIDES = (8, 8, 1)
MAX_PATCH_PIXELS = 256**2
# Seed of the voxels that rule `foreground` selects. It is not params.seed, so a new seed does not change the data.
_SEED = 0


@dataclass(frozen=True)
class PreparationPlan:
    """Settings that stage data determines once for all volumes.

    Attributes:
        preparation: normalization and spacing.
        patch: voxels of a training patch per axis.
        derived: those of the names spacing, patch and normalization that depend on the training volumes.
    """

    preparation: Preparation
    patch: Shape
    derived: tuple[str, ...]


def plan_preparation(
    params: VolumeParams,
    names: Sequence[str],
    facts: Sequence[VolumeFacts],
    training: Sequence[int],
    read: Callable[[int], LabeledVolume],
) -> PreparationPlan:
    """Determine spacing, normalization and patch.

    Args:
        params: section `data` of params.yaml.
        names: name of each volume.
        facts: properties of each volume.
        training: indices of the training volumes, the only ones that affect the settings.
        read: reads a volume by its index.

    Returns:
        The settings.

    Raises:
        InputError: the training volumes have different scales or no foreground, or a volume cannot be normalized or
            resampled with these settings.
    """
    spacings = [facts[row].spacing for row in training]
    spacing = params.spacing or target_spacing(spacings)
    rule = params.intensity
    if rule.rule == "foreground":
        intensity = fit_foreground(_volumes(names, training, read, wording_of_params(params).items), _SEED)
    elif rule.level is not None and rule.width is not None:
        intensity = (VolumeIntensity.window(rule.level, rule.width),) * len(facts[0].limits)
    else:
        intensity = (VolumeIntensity(rule.rule),) * len(facts[0].limits)
    for channel in range(len(intensity)):
        check_scale(rule.rule, {names[row]: facts[row].ranges[channel] for row in training})
    _check_all(names, facts, spacing, intensity)
    shape = median_shape([facts[row].shape for row in training], spacings, spacing)
    patch = params.patch or default_patch(spacing, shape, params.is_planar)
    derived = {
        "spacing": params.spacing is None,
        "patch": params.patch is None,
        "normalization": rule.rule == "foreground",
    }
    return PreparationPlan(
        Preparation(spacing, intensity), patch, tuple(name for name, is_so in derived.items() if is_so)
    )


def default_patch(spacing: Spacing, shape: Shape, is_planar: bool) -> Shape:
    """Return the size of a patch for `data.patch: null`.

    Args:
        spacing: spacing of the resampled volumes in mm.
        shape: median shape of the resampled volumes.
        is_planar: True if the volumes are two-dimensional images.

    Returns:
        Voxels per axis.
    """
    if is_planar:
        return patch_size(spacing, shape, PLANAR_STRIDES, MAX_PATCH_PIXELS)
    return patch_size(spacing, shape, STRIDES, MAX_PATCH_VOXELS)


def _volumes(
    names: Sequence[str], rows: Sequence[int], read: Callable[[int], LabeledVolume], unit: str
) -> Iterator[tuple]:  # type: ignore[type-arg]
    """Yield the name, the image and the mask of the volumes `rows`."""
    with progress("foreground", len(rows), unit) as advance:
        for row in rows:
            volume = read(row)
            yield names[row], volume.image, volume.mask
            advance()


def _check_all(
    names: Sequence[str],
    facts: Sequence[VolumeFacts],
    spacing: tuple[float, float, float],
    intensity: Sequence[VolumeIntensity],
) -> None:
    """Reject volumes that cannot be prepared with these settings, before any volume is prepared."""
    for name, fact in zip(names, facts, strict=True):
        try:
            resampled_shape(fact.shape, fact.spacing, spacing)
        except DecodeError as error:
            raise InputError(f"data.spacing={list(spacing)}: {name}: {error}. Set a larger data.spacing") from None
        windows = [(rule.low, rule.high) for rule in intensity if rule.low is not None and rule.high is not None]
        if windows and (problem := outside(fact, windows)):
            raise InputError(f"data.intensity.rule={intensity[0].rule}: {name}: {problem}. Correct or remove the file")

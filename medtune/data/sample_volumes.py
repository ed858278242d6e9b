"""Sample volumes to try an exported model (bundle) on. Sources that draw their volumes have no files for this."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from medtune.data.volume_reading import LabeledVolume

_FILES = 4


def write_sample_volumes(folder: Path, names: Iterable[tuple[int, str]], read: Callable[[int], LabeledVolume]) -> None:
    """Write up to four volumes to `<folder>/<name>.nii.gz`, in RAS, before any normalization or resampling.

    Args:
        folder: folder to create.
        names: index and name of each volume to choose from, for example the test volumes.
        read: reads a volume by its index.
    """
    import nibabel as nib

    folder.mkdir()
    for row, name in list(names)[:_FILES]:
        volume = read(row)
        array = volume.image[0] if len(volume.image) == 1 else np.moveaxis(volume.image, 0, -1)
        image = nib.Nifti1Image(array, volume.affine)  # type: ignore[no-untyped-call]
        image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
        nib.save(image, folder / f"{name}.nii.gz")

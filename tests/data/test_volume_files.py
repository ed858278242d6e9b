from pathlib import Path

import pytest

from medtune.data.sample import Sample
from medtune.data.volume_files import VolumeFiles


def test_volume_files__is_drawn_or_has_files():
    image, mask = Path("image.nii.gz"), Path("mask.nii.gz")
    assert VolumeFiles((image,), mask).files == (image, mask)
    assert VolumeFiles((image,)).files == (image,)
    assert VolumeFiles(read=tuple).files == ()
    assert VolumeFiles(mask=mask, series=Path("nowhere")).files == (mask,)
    for arguments in (
        {"channels": (image,), "series": image},
        {},
        {"channels": (image,), "read": tuple},
        {"mask": mask},
        {"mask": mask, "read": tuple},
    ):
        with pytest.raises(ValueError, match=r"drawn|exactly one"):
            VolumeFiles(**arguments)


def test_sample__of_an_image_has_no_volume():
    assert Sample("1.png", "a").volume is None

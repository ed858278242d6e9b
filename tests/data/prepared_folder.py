"""A small prepared set of images in a folder."""

from pathlib import Path

import numpy as np

from medtune.config.data import SplitParams
from medtune.data.manifest_writing import write_info, write_manifest
from medtune.data.packing import pack
from medtune.data.sample import Sample
from medtune.data.splits import split_samples
from medtune.runtime.artifact import commit


def prepare(
    folder: Path, test_fold: int | str = 1, with_patients: bool = True, extra: dict[str, str] | None = None
) -> Path:
    """Write a set of 20 images in classes a and b, and return `folder`.

    Args:
        folder: folder of the set.
        test_fold: the selected test fold, or all.
        with_patients: one patient per image. False: the patients are unknown.
        extra: cells of further columns, the same for all images.

    Returns:
        The folder.
    """
    work = folder.with_name(f".{folder.name}.partial")
    work.mkdir(parents=True)
    rng = np.random.default_rng(6)
    samples = []
    for number in range(20):
        image = rng.integers(0, 256, (8, 8, 3), np.uint8)
        sample = Sample(
            f"{number:02d}", "ab"[number % 2], f"P{number}" if with_patients else None, extra or {"slide": "1"}
        )
        samples.append(
            Sample(sample.path, sample.label, sample.patient_id, sample.metadata, read=lambda image=image: image)
        )
    params = SplitParams(protocol="patient" if with_patients else "image", test_fold=test_fold)
    packed = pack(samples, None, work, 8, "squash", "error")
    write_manifest(work, samples, packed, split_samples(samples, ("a", "b"), params, "test"), test_fold)
    write_info(work, {"classes": ["a", "b"]})
    commit(folder, "key", {})
    return folder
